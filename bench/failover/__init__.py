"""What a failover costs: Patroni, etcd and HAProxy as they are installed, and the service in front of them."""
