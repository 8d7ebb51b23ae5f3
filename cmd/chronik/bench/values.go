package bench

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// Values are what records hold.
type Values struct {
	Size int
	// JSON is for topics that are tables or searched: objects with a number, a
	// time, a city, an amount and a message of words, of about that size. Else they
	// are bytes that do not compress.
	JSON bool
}

// valueMaker makes values for one goroutine.
type valueMaker struct {
	Values
	random *rand.Rand
	pool   []byte
	n      uint64
}

// poolBytes are so many that few are in a batch twice.
const poolBytes = 16 << 20

// makers are n of them, which share the bytes that values are cut out of.
func (v Values) makers(n int) []*valueMaker {
	var pool []byte
	if !v.JSON {
		pool = make([]byte, v.Size+poolBytes)
		_, _ = rand.NewChaCha8([32]byte{}).Read(pool) // never fails
	}
	all := make([]*valueMaker, n)
	for i := range all {
		seed := uint64(i)
		all[i] = &valueMaker{Values: v, random: rand.New(rand.NewPCG(seed, seed)), pool: pool, n: seed << 40} // they number their own records
	}
	return all
}

// next is a value that nobody changes.
func (m *valueMaker) next() []byte {
	m.n++
	if m.JSON {
		return m.object()
	}
	at := m.random.IntN(len(m.pool) - m.Size)
	return m.pool[at : at+m.Size : at+m.Size]
}

var (
	cities = []string{"Oslo", "Bergen", "Lyon", "Turin", "Porto", "Graz", "Ghent", "Malmö"}
	words  = []string{
		"order", "parcel", "late", "refund", "payment", "failed", "delivered", "customer", "support", "timeout",
		"connection", "reset", "by", "peer", "slow", "again", "never", "came", "thanks", "quick",
	}
)

func (m *valueMaker) object() []byte {
	b := make([]byte, 0, m.Size+128)
	b = strconv.AppendUint(append(b, `{"id":`...), m.n, 10)
	b = time.Now().UTC().AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano)
	b = append(append(b, `","city":"`...), cities[m.random.IntN(len(cities))]...)
	b = strconv.AppendFloat(append(b, `","amount":`...), float64(m.random.IntN(100_000))/100, 'f', 2, 64)
	b = append(append(b, `,"message":"`...), words[m.random.IntN(len(words))]...)
	for len(b)+2 < m.Size {
		b = append(append(b, ' '), words[m.random.IntN(len(words))]...)
	}
	return append(b, `"}`...)
}
