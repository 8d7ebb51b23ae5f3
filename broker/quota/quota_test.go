package quota_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

var named = metastore.QuotaNamed

// world is a store of quotas.
type world struct {
	*metastore.Store
	t testing.TB
}

func open(t testing.TB) world {
	t.Helper()
	s, err := metastore.Open(t.Context(), memory.New(), metastore.Options{Cluster: "c"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return world{s, t}
}

func (w world) set(e metastore.QuotaEntity, key string, value float64) {
	w.t.Helper()
	require.NoError(w.t, w.UpdateQuota(w.t.Context(), e, func(set map[string]float64) (map[string]float64, error) {
		if set == nil {
			set = make(map[string]float64)
		}
		if set[key] = value; value == 0 {
			delete(set, key)
		}
		return set, nil
	}))
}

func (w world) accounts() *quota.Accounts { return quota.New(quota.Config{}, w.Catalog().Quotas) }

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTheQuotaOfTheNarrowestEntityCounts(t *testing.T) {
	// Kafka's order; each is found as long as nothing narrower is set.
	order := []metastore.QuotaEntity{
		{User: named("u"), ClientID: named("c")}, {User: named("u"), ClientID: named("")}, {User: named("u")},
		{User: named(""), ClientID: named("c")}, {User: named(""), ClientID: named("")}, {User: named("")},
		{ClientID: named("c")}, {ClientID: named("")},
	}
	w := open(t)
	for i := len(order) - 1; i >= 0; i-- {
		w.set(order[i], quota.Produce, float64(i+1))
		w.set(order[i], quota.Fetch, 1e9) // another key does not matter
		left, _ := w.accounts().Left(quota.Produce, quota.Client{User: "u", ID: "c"}, start)
		require.Equal(t, 10*float64(i+1), left, "%s", order[i])
	}
	for i := range order {
		w.set(order[i], quota.Produce, 0)
		left, _ := w.accounts().Left(quota.Produce, quota.Client{User: "u", ID: "c"}, start)
		if i < len(order)-1 {
			require.Equal(t, 10*float64(i+2), left, "%s", order[i+1])
		} else {
			require.True(t, math.IsInf(left, 1))
		}
	}
}

func TestTheQuotaOfAnotherDoesNotCount(t *testing.T) {
	w := open(t)
	for _, e := range []metastore.QuotaEntity{
		{User: named("v")}, {ClientID: named("d")}, {User: named("v"), ClientID: named("c")}, {User: named("u"), ClientID: named("d")}, {IP: named("")},
	} {
		w.set(e, quota.Produce, 1)
	}
	require.Zero(t, w.accounts().Use(quota.Produce, quota.Client{User: "u", ID: "c"}, 1e9, start))
	w.set(metastore.QuotaEntity{ClientID: named("")}, quota.Produce, 1)
	require.NotZero(t, w.accounts().Use(quota.Produce, quota.Client{User: "u"}, 1e9, start), "the default is for clients without an id too")
	w.set(metastore.QuotaEntity{User: named("u")}, quota.Produce, 1e12)
	w.set(metastore.QuotaEntity{User: named("u"), ClientID: named("")}, quota.Produce, 1)
	require.NotZero(t, w.accounts().Use(quota.Produce, quota.Client{User: "u"}, 1e9, start), "and narrower than the user's alone")
}

func TestAccountsAreSharedAsTheEntitySays(t *testing.T) {
	a, b, other := quota.Client{User: "u", ID: "a"}, quota.Client{User: "u", ID: "b"}, quota.Client{User: "v", ID: "a"}
	for _, c := range []struct {
		entity               metastore.QuotaEntity
		sharesID, sharesUser bool
	}{
		{metastore.QuotaEntity{User: named("")}, true, false},
		{metastore.QuotaEntity{ClientID: named("")}, false, true},
		{metastore.QuotaEntity{User: named(""), ClientID: named("")}, false, false},
	} {
		w := open(t)
		w.set(c.entity, quota.Fetch, 100)
		accounts := w.accounts()
		require.NotZero(t, accounts.Use(quota.Fetch, a, 1001, start))
		_, throttle := accounts.Left(quota.Fetch, b, start)
		require.Equal(t, c.sharesID, throttle > 0, "%s: another client id of the user", c.entity)
		_, throttle = accounts.Left(quota.Fetch, other, start)
		require.Equal(t, c.sharesUser, throttle > 0, "%s: the same client id of another user", c.entity)
	}
}

func TestABurstIsFreeAndADebtIsPaid(t *testing.T) {
	w := open(t)
	w.set(metastore.QuotaEntity{ClientID: named("c")}, quota.Produce, 1000)
	a, c, now := w.accounts(), quota.Client{User: "u", ID: "c"}, start
	require.Zero(t, a.Use(quota.Produce, c, 10_000, now), "ten seconds of the rate at once")
	require.Equal(t, 2*time.Second, a.Use(quota.Produce, c, 2000, now))
	require.Equal(t, 3*time.Second, a.Use(quota.Produce, c, 1000, now))
	left, throttle := a.Left(quota.Produce, c, now.Add(2*time.Second))
	require.Zero(t, left)
	require.Equal(t, time.Second, throttle)
	left, throttle = a.Left(quota.Produce, c, now.Add(4*time.Second))
	require.Equal(t, float64(1000), left)
	require.Zero(t, throttle)
	left, _ = a.Left(quota.Produce, c, now.Add(time.Hour))
	require.Equal(t, float64(10_000), left, "no more than the burst is saved")
	require.Zero(t, a.Use(quota.Produce, c, 1, now), "a clock that goes back takes nothing")
}

// Whatever the sizes of the requests, a client that waits as it is told gets the
// rate of its quota, and the burst once.
func TestAClientGetsItsRate(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		rate := math.Exp(random.Float64()*10) + 1
		w := open(t)
		w.set(metastore.QuotaEntity{User: named("")}, quota.Produce, rate)
		a, now, sent := w.accounts(), start, 0.0
		for now.Sub(start) < time.Hour {
			size := random.Float64() * rate * 30
			sent += size
			now = now.Add(a.Use(quota.Produce, quota.Client{User: "u"}, size, now) + time.Millisecond)
		}
		got := sent / now.Sub(start).Seconds()
		require.InEpsilon(t, rate, got, 0.02, "rate %f", rate)
	}
}

func TestAQuotaThatChangesActsAtOnce(t *testing.T) {
	w := open(t)
	e, c := metastore.QuotaEntity{ClientID: named("c")}, quota.Client{User: "u", ID: "c"}
	w.set(e, quota.Produce, 10)
	a := w.accounts()
	require.Equal(t, 90*time.Second, a.Use(quota.Produce, c, 1000, start))
	w.set(e, quota.Produce, 100)
	_, throttle := a.Left(quota.Produce, c, start)
	require.Equal(t, 9*time.Second, throttle)
	w.set(e, quota.Produce, 0)
	require.Zero(t, a.Use(quota.Produce, c, 1e12, start))
	require.False(t, a.Any(quota.Produce))
}

func TestNoDebtLastsForEver(t *testing.T) {
	w := open(t)
	w.set(metastore.QuotaEntity{ClientID: named("c")}, quota.Produce, 1)
	require.Equal(t, 10*time.Minute, w.accounts().Use(quota.Produce, quota.Client{ID: "c"}, 1e12, start))
}

func TestTimeOfTheBrokerIsThrottledASecondAtATime(t *testing.T) {
	w := open(t)
	w.set(metastore.QuotaEntity{ClientID: named("c")}, quota.Request, 1) // a hundredth of a core
	a, c := w.accounts(), quota.Client{ID: "c"}
	require.Zero(t, a.Use(quota.Request, c, 0.1, start), "a tenth of a second is ten seconds' worth")
	require.Equal(t, 500*time.Millisecond, a.Use(quota.Request, c, 0.005, start))
	require.Equal(t, time.Second, a.Use(quota.Request, c, 1, start))
}

func TestAnAddressGetsItsConnectionsHoweverShortTheBurst(t *testing.T) {
	w := open(t)
	a := quota.New(quota.Config{Burst: 10 * time.Millisecond}, w.Catalog().Quotas)
	w.set(metastore.QuotaEntity{IP: named("")}, quota.Connections, 1)
	one := netip.MustParseAddr("::1")
	for i := range 3 {
		now := start.Add(time.Duration(i) * time.Second)
		require.Zero(t, a.Connect(one, now))
		require.Equal(t, time.Second, a.Connect(one, now))
	}
}

func TestConnectionsOfAnAddressAreCounted(t *testing.T) {
	w := open(t)
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::2")
	a := w.accounts()
	require.Zero(t, a.Connect(one, start))
	w.set(metastore.QuotaEntity{IP: named("")}, quota.Connections, 2)
	w.set(metastore.QuotaEntity{IP: named("::2")}, quota.Connections, 1)
	for range 20 {
		require.Zero(t, a.Connect(one, start))
	}
	for range 3 {
		require.Equal(t, 500*time.Millisecond, a.Connect(one, start), "what is refused is not counted")
	}
	require.Zero(t, a.Connect(one, start.Add(500*time.Millisecond)))
	for range 10 {
		require.Zero(t, a.Connect(two, start))
	}
	require.Equal(t, time.Second, a.Connect(two, start))
}

func TestAccountsThatAreFullAreForgotten(t *testing.T) {
	w := open(t)
	w.set(metastore.QuotaEntity{ClientID: named("")}, quota.Produce, 100)
	a, now := w.accounts(), start
	for i := range 100_000 {
		a.Use(quota.Produce, quota.Client{ID: fmt.Sprint(i)}, 1, now)
		now = now.Add(time.Millisecond)
	}
	require.Less(t, quota.Size(a), 25_000, "of the last twenty seconds")
}

func TestWithoutQuotasNothingIsAllocated(t *testing.T) {
	w := open(t)
	a, c := w.accounts(), quota.Client{User: "u", ID: "c"}
	require.Zero(t, testing.AllocsPerRun(100, func() { a.Use(quota.Produce, c, 100, start) }))
	w.set(metastore.QuotaEntity{ClientID: named("")}, quota.Produce, 1e12)
	a.Use(quota.Produce, c, 100, start)
	require.Zero(t, testing.AllocsPerRun(100, func() { a.Use(quota.Produce, c, 100, start) }))
}

func BenchmarkUse(b *testing.B) {
	for name, entity := range map[string]*metastore.QuotaEntity{"none": nil, "default": {ClientID: named("")}, "narrowest": {User: named("u"), ClientID: named("c")}} {
		b.Run(name, func(b *testing.B) {
			w := open(b)
			if entity != nil {
				w.set(*entity, quota.Produce, 1e15)
			}
			a, c := w.accounts(), quota.Client{User: "u", ID: "c"}
			b.ReportAllocs()
			for b.Loop() {
				a.Use(quota.Produce, c, 1000, start)
			}
		})
	}
}
