// Package quota holds clients to the rates that are set for them: bytes produced
// and fetched, time of the broker, and connections of an address.
//
// Quotas are of Kafka's entities with Kafka's precedence. What counts together is
// what Kafka counts together: all connections of a user and client id, of a user,
// or of a client id, by the kind of entity that the quota was found for. Each
// broker holds clients to a quota by itself.
//
// An account fills at the rate of the quota up to what it allows in Config.Burst,
// and may be overdrawn by one request, whose size nobody knows before. Who has
// overdrawn is throttled until the debt is paid: over any time a client gets the
// rate that is set, and a burst. Where no quota is set, nothing is counted and
// nothing allocated.
//
// The package has no clock of its own and does no I/O.
package quota

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore"
)

// The keys of quotas, as Kafka names them.
const (
	Produce     = "producer_byte_rate"       // bytes per second
	Fetch       = "consumer_byte_rate"       // bytes per second
	Request     = "request_percentage"       // of one core's time
	Mutations   = "controller_mutation_rate" // partitions created and deleted per second
	Connections = "connection_creation_rate" // per second
)

// debtMax bounds what an account may be overdrawn by, in time to pay it back.
const debtMax = 10 * time.Minute

// requestThrottleMax bounds one throttling for time of the broker, as in Kafka: a
// group's member must come to say that it lives.
const requestThrottleMax = time.Second

// Client is who sends requests.
type Client struct{ User, ID string }

// Config bounds the accounts.
type Config struct {
	Burst time.Duration // how much of its rate a client may have at once; default 10 s, Kafka's ten windows
}

// Accounts counts what clients use. Its methods may be called at once.
type Accounts struct {
	burst  float64 // seconds
	quotas func() *metastore.Quotas

	mu    sync.Mutex
	byKey map[account]*balance
	swept time.Time
}

// account names those who share a balance: name parts that the quota's entity
// does not have are empty.
type account struct {
	key      string
	user, id string
	users    bool // the entity has a user
	ids      bool // the entity has a client id
	address  netip.Addr
}

// balance is what is left, in units of the key.
type balance struct {
	left, rate float64
	at         time.Time
}

// New returns accounts over the quotas that are in force when they are asked.
func New(cfg Config, quotas func() *metastore.Quotas) *Accounts {
	if cfg.Burst == 0 {
		cfg.Burst = 10 * time.Second
	}
	return &Accounts{burst: cfg.Burst.Seconds(), quotas: quotas, byKey: make(map[account]*balance)}
}

// Any tells whether a key is set for anybody: without it there is nothing to count.
func (a *Accounts) Any(key string) bool { return a.quotas().Has(key) }

// Use takes amount from c's account for key, and returns how long c is to be
// throttled.
func (a *Accounts) Use(key string, c Client, amount float64, now time.Time) time.Duration {
	who, rate, ok := a.find(key, c)
	if !ok {
		return 0
	}
	throttle := a.use(who, rate, amount, now)
	if key == Request {
		throttle = min(throttle, requestThrottleMax)
	}
	return throttle
}

// Left returns what c may have of key now; +Inf without a quota. When that is
// nothing, throttle is how long c has to wait for more.
func (a *Accounts) Left(key string, c Client, now time.Time) (amount float64, throttle time.Duration) {
	who, rate, ok := a.find(key, c)
	if !ok {
		return math.Inf(1), 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.balance(who, rate, now)
	return max(0, b.left), b.debt()
}

// Connect counts a new connection of an address. When it is one too many, it is
// not counted, and throttle is how long to wait for the next.
func (a *Accounts) Connect(address netip.Addr, now time.Time) (throttle time.Duration) {
	quotas := a.quotas()
	if !quotas.Has(Connections) {
		return 0
	}
	rate, ok := quotas.Of(metastore.QuotaEntity{IP: metastore.QuotaNamed(address.String())})[Connections]
	if !ok {
		if rate, ok = quotas.Of(metastore.QuotaEntity{IP: metastore.QuotaNamed("")})[Connections]; !ok {
			return 0
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.balance(account{key: Connections, address: address}, rate, now)
	if b.left < 1 {
		return seconds((1 - b.left) / rate)
	}
	b.left--
	return 0
}

// find returns the account that c's use of key goes to. The order is Kafka's.
func (a *Accounts) find(key string, c Client) (who account, rate float64, ok bool) {
	quotas := a.quotas()
	if !quotas.Has(key) {
		return account{}, 0, false
	}
	named := metastore.QuotaNamed // of "" it is the default, all that fits a client without an id
	user, id := named(c.User), named(c.ID)
	for _, e := range [...]metastore.QuotaEntity{
		{User: user, ClientID: id}, {User: user, ClientID: named("")}, {User: user},
		{User: named(""), ClientID: id}, {User: named(""), ClientID: named("")}, {User: named("")},
		{ClientID: id}, {ClientID: named("")},
	} {
		if rate, ok = quotas.Of(e)[key]; !ok {
			continue
		}
		who = account{key: key, users: e.User.Given, ids: e.ClientID.Given}
		if who.users {
			who.user = c.User
		}
		if who.ids {
			who.id = c.ID
		}
		if key == Request {
			rate /= 100
		}
		return who, rate, true
	}
	return account{}, 0, false
}

func (a *Accounts) use(who account, rate, amount float64, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.balance(who, rate, now)
	b.left = max(b.left-amount, -rate*debtMax.Seconds())
	return b.debt()
}

// balance returns an account as it is now. a.mu is held.
func (a *Accounts) balance(who account, rate float64, now time.Time) *balance {
	b := a.byKey[who]
	if b == nil {
		a.sweep(now)
		b = &balance{left: a.most(who, rate), at: now}
		a.byKey[who] = b
	}
	b.left = min(b.left+rate*max(0, now.Sub(b.at).Seconds()), a.most(who, rate))
	b.rate, b.at = rate, now
	return b
}

// most is what an account may hold: a burst, and one connection at least, or an
// address whose burst is less would never get any.
func (a *Accounts) most(who account, rate float64) float64 {
	most := rate * a.burst
	if who.key == Connections {
		most = max(1, most)
	}
	return most
}

// sweep forgets, now and then, the accounts that are full: they are as new ones.
// a.mu is held.
func (a *Accounts) sweep(now time.Time) {
	if now.Sub(a.swept).Seconds() < a.burst {
		return
	}
	a.swept = now
	for who, b := range a.byKey {
		if b.left+b.rate*now.Sub(b.at).Seconds() >= a.most(who, b.rate) {
			delete(a.byKey, who)
		}
	}
}

// debt is how long it takes until the account is not overdrawn.
func (b *balance) debt() time.Duration {
	if b.left >= 0 {
		return 0
	}
	return seconds(-b.left / b.rate)
}

// seconds is at least a millisecond, the protocol's unit.
func seconds(s float64) time.Duration {
	return max(time.Duration(s*float64(time.Second)), time.Millisecond)
}
