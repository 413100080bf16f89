"""The brokers that Celery knows; some need a package beside it."""

BROKERS = (
    *("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp", "sqs", "gcpubsub", "pgmq"),
    *("azureservicebus", "azurestoragequeues", "kafka", "confluentkafka", "filesystem", "zookeeper", "consul", "etcd"),
)
