// Buttons that copy the text before them. Browsers have `navigator.clipboard` over https and on localhost alone.
"use strict";

for (const button of document.querySelectorAll('button[data-copies="previous"]')) {
  button.addEventListener("click", async () => {
    const shown = button.previousElementSibling;
    button.textContent = (await copied(shown)) ? "Copied" : "Press Ctrl+C";
  });
}

async function copied(shown) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(shown.textContent);
      return true;
    } catch {
      // The browser's user has not allowed it: the way of before is left.
    }
  }
  // It stays selected, so that a person can copy it where the page cannot.
  getSelection().selectAllChildren(shown);
  return document.execCommand("copy");
}
