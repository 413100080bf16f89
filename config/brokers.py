"""The brokers that Celery supports. Some need another package."""

BROKERS = (
    *("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp", "sqs", "gcpubsub", "pgmq"),
    *("azureservicebus", "azurestoragequeues", "kafka", "confluentkafka", "filesystem", "zookeeper", "consul", "etcd"),
)
