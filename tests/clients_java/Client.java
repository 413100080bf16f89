// The JDK's own HTTP client with its defaults: over http it asks for HTTP/2 with every request, by `Upgrade: h2c`.

import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;

public class Client {
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static final String URL = System.getenv("SLUICE_URL") + "/v1";
    static final String PLAIN = "{\"model\":\"gpt-4.1-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    static final String STREAM = PLAIN.substring(0, PLAIN.length() - 1) + ",\"stream\":true}";

    static HttpResponse<String> post(String path, String type, BodyPublisher body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(URL + path))
            .header("Authorization", "Bearer " + System.getenv("SLUICE_KEY"))
            .header("Content-Type", type)
            .POST(body)
            .build();
        return CLIENT.send(request, BodyHandlers.ofString());
    }

    static void check(HttpResponse<String> answer, String expected) {
        if (answer.statusCode() != 200 || !answer.body().contains(expected)) {
            throw new AssertionError(answer.request().uri() + ": " + answer.statusCode() + " " + answer.body());
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 3; i++) {
            check(post("/chat/completions", "application/json", BodyPublishers.ofString(PLAIN)), "chat.completion");
            check(post("/chat/completions", "application/json", BodyPublishers.ofString(STREAM)), "[DONE]");
            byte[] large = "x".repeat(300_000).getBytes(StandardCharsets.UTF_8);
            InputStream of = new java.io.ByteArrayInputStream(large);
            check(post("/files", "application/octet-stream", BodyPublishers.ofByteArray(large)), "");
            check(post("/files", "application/octet-stream", BodyPublishers.ofInputStream(() -> of)), "");
        }
    }
}
