package query

import (
	"reflect"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestTheTailIsReadFromInternalListenersWhereThereAreSome(t *testing.T) {
	store, err := metastore.Open(t.Context(), memory.New(), metastore.Options{Cluster: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	for id, listeners := range map[metastore.BrokerID][]metastore.Listener{
		1: {{Name: "PLAINTEXT", Host: "balancer", Port: 9092}, {Name: metastore.InternalListener, Host: "one", Port: 9094}},
		2: {{Name: "PLAINTEXT", Host: "two", Port: 9092}},
	} {
		if _, err := store.Register(t.Context(), metastore.Broker{ID: id, Listeners: listeners}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := seeds(store.Catalog()), []string{"one:9094", "two:9092"}; !reflect.DeepEqual(got, want) {
		t.Errorf("seeds %v, want %v", got, want)
	}
}
