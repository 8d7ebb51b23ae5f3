package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// check finds what no setting can see alone.
func (c *Config) check() []error {
	var faults []error
	fault := c.faultIn(&faults)
	c.checkEtcd(fault)
	if c.Has(RoleBroker) {
		c.checkBroker(fault)
	}
	if c.Clustered() && c.ObjectStore.Provider == "local" && c.ObjectStore.Dir == "" {
		fault("objstore.provider", errors.New("the nodes of a cluster share one bucket: set objstore.provider=s3 and objstore.bucket (OBJECT_STORE_BACKEND, S3_BUCKET), or objstore.dir to a folder that every node mounts"))
	}
	if c.Kafka.Internal.Advertised != nil && c.Kafka.Internal.Listen == nil {
		fault("kafka.internal.advertised", errors.New("kafka.internal.advertised has no effect without kafka.internal.listen"))
	}
	if c.Kafka.Advertise == "shared" && c.Kafka.Internal.Listen == nil {
		fault("kafka.advertise", errors.New("kafka.advertise=shared needs kafka.internal.listen, where the brokers reach each other"))
	}
	if c.Kafka.Advertise == "shared" && len(c.Kafka.Advertised) == 0 {
		fault("kafka.advertise", errors.New("kafka.advertise=shared needs the load balancer's address: set kafka.advertised (CHRONIK_KAFKA_ADVERTISED=balancer:9092)"))
	}
	if len(c.Kafka.ProxyTrusted) > 0 && !c.Kafka.ProxyProtocol {
		fault("kafka.proxy_trusted", errors.New("kafka.proxy_trusted has no effect without kafka.proxy_protocol=true"))
	}
	c.checkBucket(fault)
	c.checkMilvus(fault)
	if _, err := topicconfig.ValidateDefaults(c.TopicDefaults()); err != nil {
		fault("durability.default", fmt.Errorf("defaults of topics: %w", err))
	}
	return faults
}

func (c *Config) faultIn(faults *[]error) fault {
	return func(key string, err error) {
		where := c.Source(key).Name
		if where == sourceDefault {
			where = key
		}
		*faults = append(*faults, &Error{Where: where, Err: err})
	}
}

// checkBucket checks what says where the cluster's objects are.
func (c *Config) checkBucket(fault fault) {
	if c.ObjectStore.Provider != "local" && c.ObjectStore.Bucket == "" {
		fault("objstore.provider", errors.New("an S3 bucket needs its name: set objstore.bucket (CHRONIK_OBJSTORE_BUCKET or S3_BUCKET)"))
	}
	if c.DataDir == "" {
		fault("data_dir", errors.New("data_dir must not be empty"))
	}
	if c.Cluster == "" {
		fault("cluster", errors.New("cluster must not be empty"))
	}
}

func (c *Config) advertised(l Listener) (Listener, bool) {
	for _, a := range c.Kafka.Advertised {
		if a.Name == l.Name {
			return a, true
		}
	}
	return Listener{}, false
}

// Advertise is what clients are told of a listener that is bound to port.
func (c *Config) Advertise(l Listener, port int) Listener {
	a, ok := c.advertised(l)
	if !ok {
		return Listener{Name: l.Name, Host: l.Host, Port: port}
	}
	if a.Port == 0 {
		a.Port = port
	}
	return a
}

// AdvertiseInternal is what the cluster's processes are told of the internal
// listener that is bound to port, on a machine of that name.
func (c *Config) AdvertiseInternal(port int, machine string) Listener {
	a := Listener{Host: c.Kafka.Internal.Listen.Host, Port: port}
	if Wildcard(a.Host) {
		a.Host = machine
	}
	if given := c.Kafka.Internal.Advertised; given != nil {
		if a.Host = given.Host; given.Port != 0 {
			a.Port = given.Port
		}
	}
	return a
}

type fault func(key string, err error)

// checkBroker checks what only a broker needs.
func (c *Config) checkBroker(fault fault) {
	if len(c.Kafka.Listen) == 0 {
		fault("kafka.listen", errors.New("kafka.listen: name at least one listener"))
	}
	for _, l := range c.Kafka.Listen {
		if _, advertised := c.advertised(l); Wildcard(l.Host) && !advertised {
			fault("kafka.listen", fmt.Errorf("%s binds every address, and no client can connect to that: say what clients are to use, as in CHRONIK_KAFKA_ADVERTISED=myhost:%d", l, l.Port))
		}
	}
	for _, a := range c.Kafka.Advertised {
		if !slices.ContainsFunc(c.Kafka.Listen, func(l Listener) bool { return l.Name == a.Name }) {
			fault("kafka.advertised", fmt.Errorf("%s is advertised, and kafka.listen has no such listener", a.Name))
		}
	}
	if c.Broker.ID == "" {
		fault("broker.id", errors.New("every broker of a cluster needs a number of its own that stays the same after a restart: set broker.id (CHRONIK_BROKER_ID), or broker.id=auto to take it from the end of the host's name"))
	} else if id, err := c.BrokerID(); err != nil {
		fault("broker.id", err)
	} else if c.Kafka.Advertise == "shared" && metastore.BrokerID(id) == metastore.SharedNode {
		fault("broker.id", fmt.Errorf("under kafka.advertise=shared %d is the id of the one node that clients see: choose another", id))
	}
}

// checkEtcd checks that what is said of etcd goes together.
func (c *Config) checkEtcd(fault fault) {
	e := c.Etcd
	switch {
	case c.Clustered() && len(e.Endpoints) == 0:
		fault("etcd.endpoints", errors.New("the nodes of a cluster meet in etcd: set etcd.endpoints (CHRONIK_ETCD_ENDPOINTS=http://etcd-0:2379,…). `chronik dev` needs none"))
		return
	case !c.Clustered() && len(e.Endpoints) > 0:
		fault("etcd.endpoints", errors.New("`chronik dev` brings an etcd of its own; `chronik run --roles broker,compactor,query` uses one that is there"))
		return
	}
	secure := 0
	for _, endpoint := range e.Endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			fault("etcd.endpoints", fmt.Errorf("%q is no URL such as http://etcd-0:2379", endpoint))
			return
		case u.Scheme == "https":
			secure++
		}
	}
	if secure > 0 && secure < len(e.Endpoints) {
		fault("etcd.endpoints", errors.New("some endpoints are http and some https: a cluster has one of them"))
	}
	for _, s := range []struct{ key, value string }{
		{"etcd.ca_file", e.CAFile}, {"etcd.cert_file", e.CertFile}, {"etcd.key_file", e.KeyFile}, {"etcd.server_name", e.ServerName},
	} {
		if s.value != "" && secure == 0 {
			fault(s.key, fmt.Errorf("%s has no effect without https in etcd.endpoints", s.key))
		}
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		fault("etcd.cert_file", errors.New("etcd.cert_file and etcd.key_file go together"))
	}
	if (e.Username == "") != (e.Password == "") {
		fault("etcd.username", errors.New("etcd.username and etcd.password go together"))
	}
	if e.Username != "" && len(e.Endpoints) == 0 {
		fault("etcd.username", errors.New("etcd.username has no effect without etcd.endpoints"))
	}
}
