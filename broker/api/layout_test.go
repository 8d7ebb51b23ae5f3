package api

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill gives every field any value, arrays up to three elements.
func fill(v reflect.Value, random *rand.Rand) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(random.Int64() >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(random.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(random.Float64())
	case reflect.String:
		v.SetString(string(make([]byte, random.IntN(200))))
	case reflect.Pointer:
		if random.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), random)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), random)
		}
	case reflect.Slice:
		if random.IntN(5) > 0 {
			n := random.IntN(4)
			if v.Type().Elem().Kind() == reflect.Uint8 {
				n *= 100
			}
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(v.Index(i), random)
			}
		}
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			for range random.IntN(3) {
				tags.Set(100+random.Uint32N(1000), make([]byte, random.IntN(200)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), random)
			}
		}
	}
}

func TestLayoutsHoldWhatKmsgWritesToTheLastByte(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range routes() {
		for version := r.min; version <= r.max; version++ {
			l := layoutOf(r.key, version)
			for range 200 {
				req := kmsg.RequestForKey(r.key)
				fill(reflect.ValueOf(req).Elem(), random)
				req.SetVersion(version)
				body := req.AppendTo(nil)
				w := walker{b: body}
				if w.walk(l); w.failed || len(w.b) > 0 {
					t.Fatalf("%s version %d: failed is %v, %d of %d bytes are left of\n%+v", r.name, version, w.failed, len(w.b), len(body), req)
				}
				if len(body) > 0 && l.holds(body[:random.IntN(len(body))]) {
					t.Fatalf("%s version %d: a part was taken for the whole", r.name, version)
				}
			}
		}
	}
}

// kmsg counts tagged fields down from what a request says, bytes or no bytes.
func TestARequestThatAnnouncesManyTagsCostsNothing(t *testing.T) {
	for _, r := range routes() {
		req := kmsg.RequestForKey(r.key)
		if req.SetVersion(r.max); !req.IsFlexible() {
			continue
		}
		body := req.AppendTo(nil)
		body = append(body[:len(body)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)
		if layoutOf(r.key, r.max).holds(body) {
			t.Errorf("%s version %d is let through", r.name, r.max)
		}
	}
	// And in what a tagged field holds.
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaState.ID = 17, 1
	body := req.AppendTo(nil)
	state := len(body) - 1 // the number of the state's own tags
	body[state-13]++       // its size
	body = append(body[:state], 0xff, 0x01)
	if layoutOf(1, 17).holds(body) {
		t.Error("a tagged field with 255 tags in no bytes is let through")
	}
}

// FuzzLayout walks any bytes as any request. The invariant: what the layout
// takes, kmsg has read or refused at once; what kmsg has written, it takes.
func FuzzLayout(f *testing.F) {
	layouts := make(map[[2]int16]*layout)
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range routes() {
		for version := r.min; version <= r.max; version++ {
			layouts[[2]int16{r.key, version}] = layoutOf(r.key, version)
			req := kmsg.RequestForKey(r.key)
			fill(reflect.ValueOf(req).Elem(), random)
			req.SetVersion(version)
			f.Add(r.key, version, req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		l, ok := layouts[[2]int16{key, version}]
		if !ok || !l.holds(body) {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		began := time.Now()
		err := req.ReadFrom(body)
		if took := time.Since(began); took > time.Second {
			t.Fatalf("key %d version %d: %s for %d bytes", key, version, took, len(body))
		}
		if err == nil && !l.holds(req.AppendTo(nil)) {
			t.Fatalf("key %d version %d: what kmsg writes is refused", key, version)
		}
	})
}

func BenchmarkLayoutOfAFetchOf100Partitions(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	req.Topics = []kmsg.FetchRequestTopic{{Partitions: make([]kmsg.FetchRequestTopicPartition, 100)}}
	for i := range req.Topics[0].Partitions {
		req.Topics[0].Partitions[i].Default()
	}
	body, l := req.AppendTo(nil), layoutOf(1, 17)
	b.ReportAllocs()
	for b.Loop() {
		if !l.holds(body) {
			b.Fatal("refused")
		}
	}
}
