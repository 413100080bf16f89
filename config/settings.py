"""All settings, read once from the environment, at start. docs/configuration.md describes them for operators."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from config.brokers import BROKERS
from config.databases import database_from, has_encrypted
from config.environment import Environment
from config.logs import check_log_file, logging_from
from config.private_files import OWNERS_ALONE, close_database, data_dir_from
from config.secrets import check_encryption_keys, ensure_secrets_file, load_dotenv
from config.sending import addresses_from, alert_webhook_from, dispatchers_from, mail_from, sender_from
from config.tracing import tracing_from
from config.upstream_credentials import credentials_from
from keys.limits.scope import Limits
from strict.units import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)

# Files that are created from here on are the owner's only. LOG_FILE has a mode of its own.
os.umask(OWNERS_ALONE)
load_dotenv(env, "ENV_FILE", Path(env.text("ENV_FILE") or BASE_DIR / ".env"))
DATA_DIR = data_dir_from(env, BASE_DIR)
if not (env.text("SECRET_KEY") and env.text("ENCRYPTION_KEY")):
    ensure_secrets_file(DATA_DIR / "secrets.env", lambda: has_encrypted(env.text("DATABASE_URL"), DATA_DIR))
    load_dotenv(env, "DATA_DIR", DATA_DIR / "secrets.env")

# --- What is served, and where -----------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", False)
SLUICE_SURFACE = env.choice("SLUICE_SURFACE", "all", ("all", "proxy", "admin"))
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, least=0, most=65535)
WORKERS = env.integer("WORKERS", 1, least=1, most=256)
GRACE_SECS = env.seconds("GRACE_SECS", 30)
ALLOWED_HOSTS = env.listed("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.listed("CSRF_TRUSTED_ORIGINS")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
METRICS_TOKEN = env.text("METRICS_TOKEN")

# --- State -------------------------------------------------------------------------------------------------
SECRET_KEY = env.text("SECRET_KEY")
ENCRYPTION_KEYS = env.listed("ENCRYPTION_KEY")
check_encryption_keys(env, ENCRYPTION_KEYS)
DATABASE_TIMEOUT_SECS = env.seconds("DATABASE_TIMEOUT_SECS", 5, least=1, most=600)
DATABASE_STATEMENT_TIMEOUT_SECS = env.seconds("DATABASE_STATEMENT_TIMEOUT_SECS", 120, least=0, most=86_400)
DATABASES = {
    "default": database_from(env, DATA_DIR, DATABASE_TIMEOUT_SECS, DATABASE_STATEMENT_TIMEOUT_SECS),
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    close_database(str(DATABASES["default"]["NAME"]))
REDIS_URL = env.redis_url("REDIS_URL")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Never derived from REDIS_URL: if there is a broker, only Celery's workers run the periodic tasks.
CELERY_BROKER_URL = env.url("CELERY_BROKER_URL", "", BROKERS)
LIMIT_LEASE_SECS = env.seconds("LIMIT_LEASE_SECS", 15, least=1, most=3600)
LIMIT_PATIENCE_SECS = env.seconds("LIMIT_PATIENCE_SECS", 0.2, least=0.01, most=10)
if WORKERS > 1 and not REDIS_URL:
    env.refuse(
        "WORKERS", f"{WORKERS} workers need REDIS_URL, which they share their state through; set it, or WORKERS=1"
    )

# --- Keys --------------------------------------------------------------------------------------------------
REQUIRE_API_KEY = env.flag("REQUIRE_API_KEY", True)
KEY_PREFIX = env.matching("KEY_PREFIX", "sk-sluice-", r"[A-Za-z0-9_-]{1,32}", "use 1 to 32 letters, digits, - or _")
KEY_DEFAULT_RPM = env.optional_integer("KEY_DEFAULT_RPM", most=10_000_000)
KEY_DEFAULT_TPM = env.optional_integer("KEY_DEFAULT_TPM", most=100_000_000_000)
KEY_DEFAULT_BUDGET = env.optional_usd("KEY_DEFAULT_BUDGET", most=9_000_000)
KEY_DEFAULT_EXPIRES_DAYS = env.optional_integer("KEY_DEFAULT_EXPIRES_DAYS", most=365_000)
BUDGET_TIME_ZONE = env.time_zone("BUDGET_TIME_ZONE", "UTC")
KEY_CACHE_SIZE = env.integer("KEY_CACHE_SIZE", 20_000, least=100)
MANAGEMENT_TOKEN = env.text("MANAGEMENT_TOKEN")

# --- Accounts ----------------------------------------------------------------------------------------------
SIGNUP_ENABLED = env.flag("SIGNUP_ENABLED", False)
JWT_EXPIRY_SECONDS = env.integer("JWT_EXPIRY_SECONDS", 86_400, least=1, most=365 * 86_400)

# --- Upstream ----------------------------------------------------------------------------------------------
OPENAI_BASE_URL = env.url("OPENAI_BASE_URL", "https://api.openai.com/v1", ("http", "https")).rstrip("/")
UPSTREAM_CREDENTIALS = credentials_from(env)
VERIFY_SSL = env.flag("VERIFY_SSL", True)
PROVIDER_SUFFIX = env.text("PROVIDER_SUFFIX").strip("/")
CONNECT_TIMEOUT_SECS = env.seconds("CONNECT_TIMEOUT_SECS", 10)
REQUEST_TIMEOUT_SECS = env.seconds("REQUEST_TIMEOUT_SECS", 600)
TTFT_TIMEOUT_SECS = env.seconds("TTFT_TIMEOUT_SECS", REQUEST_TIMEOUT_SECS)
STREAM_IDLE_TIMEOUT_SECS = env.seconds("STREAM_IDLE_TIMEOUT_SECS", 600)

# --- What clients may send ---------------------------------------------------------------------------------
MAX_PAYLOAD_BYTES = env.integer("MAX_PAYLOAD_BYTES", 64 * 1024 * 1024, least=1024)
MAX_HELD_BODY_BYTES = env.integer("MAX_HELD_BODY_BYTES", max(4 * MAX_PAYLOAD_BYTES, 64 * 1024 * 1024), least=1024)
if MAX_HELD_BODY_BYTES < MAX_PAYLOAD_BYTES:
    env.refuse(
        "MAX_HELD_BODY_BYTES", f"it is smaller than MAX_PAYLOAD_BYTES ({MAX_PAYLOAD_BYTES}), so no such body fits"
    )
MAX_UPLOAD_BYTES = env.integer("MAX_UPLOAD_BYTES", 1024 * 1024 * 1024, least=1024)
HEADER_TIMEOUT_SECS = env.seconds("HEADER_TIMEOUT_SECS", 15)
BODY_TIMEOUT_SECS = env.seconds("BODY_TIMEOUT_SECS", 30)
KEEP_ALIVE_SECS = env.seconds("KEEP_ALIVE_SECS", 75)
SEND_TIMEOUT_SECS = env.seconds("SEND_TIMEOUT_SECS", 60)

# --- Client addresses --------------------------------------------------------------------------------------
ADDRESS_LIMITS = Limits(
    rpm=env.integer("ADDRESS_RPM", 0) or None,
    rps=env.integer("ADDRESS_RPS", 0) or None,
    burst=env.integer("ADDRESS_BURST", 0) or None,
    parallel=env.integer("ADDRESS_PARALLEL", 0) or None,
)

# --- Journal and ledger ------------------------------------------------------------------------------------
JOURNAL_DIR = Path(env.text("JOURNAL_DIR") or DATA_DIR / "journal")
JOURNAL_MAX_BYTES = env.integer("JOURNAL_MAX_BYTES", 1024**3, least=1024**2)
REQUEST_RETENTION_DAYS = env.integer("REQUEST_RETENTION_DAYS", 0, most=36_500)
JOURNAL_BACKLOG_MAX_BYTES = env.integer("JOURNAL_BACKLOG_MAX_BYTES", 1024**3, least=1024**2)
JOURNAL_STREAM_MAX_EVENTS = env.integer("JOURNAL_STREAM_MAX_EVENTS", 500_000, least=1_000)
JOURNAL_CLAIM_SECS = env.seconds("JOURNAL_CLAIM_SECS", 15, least=1, most=3600)
PROVIDER_CHECKS = env.flag("PROVIDER_CHECKS", False)
LEDGER_WRITER = env.choice("LEDGER_WRITER", "own", ("own", "separate"))
LEDGER_NICENESS = env.integer("LEDGER_NICENESS", 19, most=19)

# --- Logs --------------------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper()
LOG_FILE = env.text("LOG_FILE")
LOG_FILE_MAX_BYTES = env.integer("LOG_FILE_MAX_BYTES", 50 * 1024 * 1024, least=1024)
LOG_FILE_BACKUPS = env.integer("LOG_FILE_BACKUPS", 5, most=1000)
check_log_file(env, LOG_FILE)
LOG_BODIES = env.flag("LOG_BODIES", False)
LOG_BODIES_MAX_BYTES = env.integer("LOG_BODIES_MAX_BYTES", 4096, least=1, most=1024 * 1024)
LOG_FORMAT = env.choice("LOG_FORMAT", "auto", ("auto", "json", "text"))
LOGGING = logging_from(LOG_LEVEL, LOG_FILE, LOG_FILE_MAX_BYTES, LOG_FILE_BACKUPS, LOG_FORMAT)

# --- Traces ------------------------------------------------------------------------------------------------
TRACING = tracing_from(env)

# --- Response cache ----------------------------------------------------------------------------------------
HTTP_CACHE_ENABLED = env.flag("HTTP_CACHE_ENABLED", True)
HTTP_CACHE_DEFAULT_POLICY = env.choice("HTTP_CACHE_DEFAULT_POLICY", "opt_in", ("off", "on", "opt_in"))
HTTP_CACHE_DEFAULT_TTL = env.integer("HTTP_CACHE_DEFAULT_TTL", 300, least=1, most=366 * 86_400)
HTTP_CACHE_MAX_OBJECT_BYTES = env.integer("HTTP_CACHE_MAX_OBJECT_BYTES", 1024**2, least=1, most=64 * 1024**2)
HTTP_CACHE_MEMORY_BYTES = env.integer("HTTP_CACHE_MEMORY_BYTES", 64 * 1024**2, least=1024**2)
HTTP_CACHE_BACKEND = env.choice("HTTP_CACHE_BACKEND", "redis" if REDIS_URL else "memory", ("memory", "redis"))
if HTTP_CACHE_BACKEND == "redis" and not REDIS_URL:
    env.refuse("HTTP_CACHE_BACKEND", "redis needs REDIS_URL; set it, or HTTP_CACHE_BACKEND=memory")
HTTP_CACHE_STORE = env.flag("HTTP_CACHE_STORE", True)
HTTP_CACHE_STORE_BYTES = env.integer("HTTP_CACHE_STORE_BYTES", 1024**3, least=1024**2)

# --- Captured bodies ---------------------------------------------------------------------------------------
BODY_CAPTURE_BYTES = env.integer("BODY_CAPTURE_BYTES", 64 * 1024, least=1024, most=1024 * 1024)
BODY_RETENTION_DAYS = env.integer("BODY_RETENTION_DAYS", 7, least=1, most=3650)
BODY_REDACT_PATTERN = env.expression("BODY_REDACT_PATTERN")

# --- Audit -------------------------------------------------------------------------------------------------
AUDIT_ENABLED = env.flag("AUDIT_ENABLED", True)
AUDIT_FILE = "" if env.text("AUDIT_FILE").lower() == "none" else env.text("AUDIT_FILE", str(DATA_DIR / "audit.jsonl"))
AUDIT_FILE_MAX_BYTES = env.integer("AUDIT_FILE_MAX_BYTES", 50 * 1024 * 1024, least=1024)
AUDIT_FILE_BACKUPS = env.integer("AUDIT_FILE_BACKUPS", 5, most=1000)
AUDIT_RETENTION_DAYS = env.optional_integer("AUDIT_RETENTION_DAYS", most=365_000)
AUDIT_REFUSALS_PER_SECOND = env.integer("AUDIT_REFUSALS_PER_SECOND", 100, least=1, most=10_000)

# --- Dispatchers and alerts --------------------------------------------------------------------------------
DISPATCHERS = dispatchers_from(env)
DISPATCH_WITH_SERVER = env.flag("DISPATCH_WITH_SERVER", True)
DISPATCH_DIR = Path(env.text("DISPATCH_DIR") or DATA_DIR / "dispatch")
DISPATCH_BATCH_EVENTS = env.integer("DISPATCH_BATCH_EVENTS", 100, least=1, most=1000)
DISPATCH_BATCH_SECS = env.seconds("DISPATCH_BATCH_SECS", 1, most=3600)
DISPATCH_TIMEOUT_SECS = env.seconds("DISPATCH_TIMEOUT_SECS", 10, most=600)
DISPATCH_DEAD_LETTERS_MAX_BYTES = env.integer("DISPATCH_DEAD_LETTERS_MAX_BYTES", 64 * 1024 * 1024, least=1024)
ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET = alert_webhook_from(env)
mail = mail_from(env)
EMAIL_HOST, EMAIL_PORT = mail["EMAIL_HOST"], mail["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail["EMAIL_HOST_USER"], mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = mail["EMAIL_USE_TLS"], mail["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = sender_from(env)
ALERT_EMAIL_TO = addresses_from(env, mail)

env.finish()

# --- Django ------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Before staticfiles, whose runserver it replaces. Only for that command: it loads Twisted, a quarter of each start.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_filters",
    "django_prometheus",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "keys",
    "providers",
    "usage",
    "cache",
    "proxy",
    "config",  # the last one: it fills the ports of the others
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.secure_over_https",
    "config.static_files.StaticFilesMiddleware",
    "usage.audit.middleware.audit_attempts",
    "config.middleware.atomic_changes",
    "usage.audit.middleware.audit_changes",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "keys.hashing.BCrypt",
    # For passwords that were hashed before BCrypt was used. Signing in hashes them anew.
    "keys.hashing.PBKDF2",
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Static files are served from the packages' directories: nothing to collect, nothing to forget after an upgrade.
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.static_files.StaticFiles"},
}
WHITENOISE_AUTOREFRESH = DEBUG
LOGIN_URL = "admin:login"

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": (
        {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

SCHEDULE = "config.schedule.SCHEDULE"
TASK_LEASE_SECS = 60
LOCAL_MIDDLEWARE = [
    "usage.audit.middleware.audit_attempts",
    "config.middleware.atomic_changes",
    "usage.audit.middleware.audit_changes",
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "keys.api.management_token.ManagementTokenAuthentication",
        "keys.user_tokens.UserTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["keys.api.permissions.StaffOrOwner"],
    "DEFAULT_PAGINATION_CLASS": "keys.api.pagination.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": [
        "keys.api.permissions.OwnRows",  # first, so that filters never see rows of others
        "strict.queries.StrictFilters",
        "rest_framework.filters.SearchFilter",
    ],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.ManagementSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "strict.queries.StrictNegotiation",
    "DEFAULT_PARSER_CLASSES": ["keys.api.json_parser.StorableJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "keys.api.errors.answer",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    # Clients are throttled by the connection's address, or by TRUSTED_PROXIES. Forwarding headers of others may be
    # false.
    "NUM_PROXIES": 0,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sluice management API",
    "DESCRIPTION": "Keys, projects, providers, prices, alerts, the request log and the audit log of one Sluice.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "AllowOrRefuseEnum": "keys.models.project.UNMETERED",
        "KeyStatusEnum": "keys.models.virtual_key.STATUSES",
        "ScopeKindEnum": "usage.alerts.api.SCOPES",
    },
}
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
