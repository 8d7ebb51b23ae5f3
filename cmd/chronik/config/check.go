package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// check finds what no setting can see alone.
func (c *Config) check() []error {
	var faults []error
	fault := func(key string, err error) {
		where := c.Source(key).Name
		if where == sourceDefault {
			where = key
		}
		faults = append(faults, &Error{Where: where, Err: err})
	}
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
	if c.Kafka.Internal.Advertised != nil && c.Kafka.Internal.Listen == nil {
		fault("kafka.internal.advertised", errors.New("kafka.internal.advertised has no effect without kafka.internal.listen"))
	}
	if len(c.Kafka.ProxyTrusted) > 0 && !c.Kafka.ProxyProtocol {
		fault("kafka.proxy_trusted", errors.New("kafka.proxy_trusted has no effect without kafka.proxy_protocol=true"))
	}
	if c.ObjectStore.Provider != "local" && c.ObjectStore.Bucket == "" {
		fault("objstore.provider", errors.New("an S3 bucket needs its name: set objstore.bucket (CHRONIK_OBJSTORE_BUCKET or S3_BUCKET)"))
	}
	if c.DataDir == "" {
		fault("data_dir", errors.New("data_dir must not be empty"))
	}
	if c.Cluster == "" {
		fault("cluster", errors.New("cluster must not be empty"))
	}
	if _, err := topicconfig.ValidateDefaults(c.TopicDefaults()); err != nil {
		fault("durability.default", fmt.Errorf("defaults of topics: %w", err))
	}
	return faults
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
