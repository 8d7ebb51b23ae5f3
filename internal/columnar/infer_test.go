package columnar

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func infer(t *testing.T, in *inference, values ...string) string {
	t.Helper()
	for _, v := range values {
		in.observe([]byte(v))
	}
	columns, _, _ := in.close()
	var b strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&b, "%s %s; ", c.Name, c.Type)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestColumnsWidenToWhatHoldsAllValues(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{`{"a":1} {"a":2}`, "a int64"},
		{`{"a":1} {"a":2.5}`, "a double"},
		{`{"a":9223372036854775808}`, "a double"},
		{`{"a":true} {"a":false}`, "a bool"},
		{`{"a":true} {"a":1}`, "a text"},
		{`{"a":"2026-11-23T14:05:06Z"} {"a":"2026-11-23T14:05:06.5+01:00"}`, "a timestamp"},
		{`{"a":"2026-11-23T14:05:06Z"} {"a":"soon"}`, "a text"},
		{`{"a":"2026-11-23T14:05:06Z"} {"a":7}`, "a text"},
		{`{"a":"x"} {"a":7}`, "a text"},
		{`{"a":null} {"a":7} {"a":null}`, "a int64"},
		{`{"a":null}`, ""},
		{`{"a":{}} {"a":[]}`, ""},
		{`{"a":{"b":1}} {"a":3}`, "a int64"},
		{`{"b":1,"a":"x"} {"c":true,"a":"y"}`, "b int64; a text; c bool"},
		{`{"a":1,"a":"x"}`, "a text"},
		{`{"\u0061":1} {"a":2.5}`, "a double"},
		{`[1] x {"a":1}`, "a int64"},
	} {
		if got := infer(t, newInference(nil, 100), strings.Split(c.values, " ")...); got != c.want {
			t.Errorf("%s: columns %q, want %q", c.values, got, c.want)
		}
	}
}

func TestSystemNamesGiveWay(t *testing.T) {
	got := infer(t, newInference(nil, 100), `{"timestamp":1,"Key":2,"_value":3,"":4,"topic":5,"json_key":6,"City":7,"city":8,"CITY":"x"}`)
	want := "json_timestamp int64; json_Key int64; json__value int64; json_ int64; topic int64; City int64"
	if got != want {
		t.Errorf("columns %q, want %q", got, want)
	}
}

func TestColumnsAreBounded(t *testing.T) {
	in := newInference(nil, 3)
	got := infer(t, in, `{"a":1,"b":null,"c":3}`, `{"d":4,"e":5,"b":6}`, `{"a":2.5}`)
	if got != "a double; c int64; d int64" {
		t.Errorf("columns %q", got)
	}
	if _, _, lost := in.close(); lost != 2 {
		t.Errorf("%d fields lost, want 2", lost)
	}
	in = newInference(nil, 3)
	for i := range 10_000 {
		infer(t, in, fmt.Sprintf(`{"id-%d":1}`, i))
	}
	if len(in.fields) > 3*rememberedMax || len(in.overflow) > 3 {
		t.Errorf("%d names and %d lost ones are remembered", len(in.fields), len(in.overflow))
	}
}

func TestNamesThatNoColumnCanHaveAreLost(t *testing.T) {
	in := newInference(nil, 10)
	got := infer(t, in, `{"`+strings.Repeat("x", nameBytesMax+1)+`":1,"a\u0000b":2,"ok":3}`)
	if got != "ok int64" {
		t.Errorf("columns %q", got)
	}
}

func TestFixedColumnsKeepTheirType(t *testing.T) {
	fixed := []Column{{Field: "a", Type: Int64}, {Field: "key", Type: Text}}
	got := infer(t, newInference(fixed, 10), `{"a":"x","b":1.5}`)
	if got != "a int64; json_key text; b double" {
		t.Errorf("columns %q", got)
	}
}

// Join is a least upper bound: what a column becomes does not depend on the
// order of its values.
func TestJoinIsALattice(t *testing.T) {
	types := []Type{Untyped, Bool, Int64, Double, Timestamp, Text}
	for _, a := range types {
		for _, b := range types {
			if a.Join(b) != b.Join(a) {
				t.Errorf("%v ∨ %v depends on the order", a, b)
			}
			if j := a.Join(b); a.Join(j) != j {
				t.Errorf("%v ∨ %v does not absorb", a, b)
			}
			for _, c := range types {
				if a.Join(b).Join(c) != a.Join(b.Join(c)) {
					t.Errorf("%v, %v, %v: not associative", a, b, c)
				}
			}
		}
	}
}

func TestColumnTypesDoNotDependOnTheOrderOfRecords(t *testing.T) {
	values := []string{`{"a":1,"b":true}`, `{"b":2,"c":"2026-11-23T14:05:06Z"}`, `{"a":2.5,"c":null}`, `{"d":[1]}`, `{"d":1e3,"e":"x"}`, `{"e":null,"d":3}`}
	types := func(values []string) map[string]Type {
		in := newInference(nil, 100)
		infer(t, in, values...)
		columns, _, _ := in.close()
		out := map[string]Type{}
		for _, c := range columns {
			out[c.Name] = c.Type
		}
		return out
	}
	want := types(values)
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		if got := types(values); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
	}
}

func TestTypeNamesParseBack(t *testing.T) {
	for typ := Bool; typ <= Text; typ++ {
		if got, err := ParseType(typ.String()); err != nil || got != typ {
			t.Errorf("%s: %v, %v", typ, got, err)
		}
	}
	if _, err := ParseType(""); err == nil {
		t.Error("the empty type parses")
	}
}
