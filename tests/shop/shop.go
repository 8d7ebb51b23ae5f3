// Package shop makes up the events of an online shop: orders and page views, as
// JSON, for the demo, the end-to-end tests and the benchmarks.
//
// The same seed and start give the same events, byte for byte, on every
// machine, so that an answer can be checked against what was made. The names
// and numbers are invented; their distribution is not even, as in life: a few
// cities, products and customers have most of the events.
package shop

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// Order is one order. Amount is in cents so that sums are exact.
type Order struct {
	Number   int
	Customer int
	City     string
	Country  string
	Product  string
	Items    int
	Cents    int64
	Status   string // paid, shipped, returned, cancelled
	Payment  string
	At       time.Time
}

// View is one page view.
type View struct {
	Session  string
	Customer int // 0: not signed in
	Path     string
	Source   string
	Device   string
	Millis   int // until the page was there
	Status   int // HTTP
	At       time.Time
}

// Shop makes events. It is not for concurrent use.
type Shop struct {
	random *rand.Rand
	start  time.Time
	span   time.Duration
	events int // that the span is made for
	orders int
	views  int
}

// New returns a shop whose events begin at start and, when about as many are
// made of a kind as events says, cover span.
func New(seed uint64, start time.Time, span time.Duration, events int) *Shop {
	return &Shop{
		random: rand.New(rand.NewPCG(seed, 0x5409)),
		start:  start.UTC().Truncate(time.Millisecond),
		span:   span, events: max(1, events),
	}
}

type city struct{ name, country string }

var cities = []city{
	{"Berlin", "DE"}, {"Paris", "FR"}, {"Madrid", "ES"}, {"Oslo", "NO"}, {"Lisboa", "PT"}, {"Roma", "IT"}, {"Wien", "AT"},
	{"Hamburg", "DE"}, {"Lyon", "FR"}, {"Sevilla", "ES"}, {"Bergen", "NO"}, {"Porto", "PT"}, {"Milano", "IT"}, {"Graz", "AT"},
	{"München", "DE"}, {"Nantes", "FR"}, {"Bilbao", "ES"}, {"Tromsø", "NO"}, {"Braga", "PT"}, {"Napoli", "IT"}, {"Linz", "AT"},
}

type product struct {
	name  string
	cents int64
}

var products = []product{
	{"espresso beans 1 kg", 2190}, {"paper filters", 390}, {"moka pot", 3490}, {"hand grinder", 8900}, {"kettle", 6450}, {"milk jug", 1890},
	{"scale", 4990}, {"french press", 2990}, {"cup, set of six", 3600}, {"cold brew bottle", 2750}, {"descaler", 1150}, {"espresso machine", 64900},
}

var (
	statuses = []string{"paid", "paid", "paid", "paid", "shipped", "shipped", "shipped", "shipped", "returned", "cancelled"}
	payments = []string{"card", "card", "card", "invoice", "wallet"}
	sources  = []string{"search", "search", "direct", "mail", "social", "ad"}
	devices  = []string{"phone", "phone", "phone", "desktop", "desktop", "tablet"}
	pages    = []string{"/", "/search", "/cart", "/checkout", "/account"}
)

// few picks an index below n, small ones far more often.
func (s *Shop) few(n int) int {
	f := s.random.Float64()
	return int(float64(n) * f * f * f)
}

func pick[T any](s *Shop, from []T) T { return from[s.random.IntN(len(from))] }

// at spreads the n-th event of its kind over the span, with some jitter.
func (s *Shop) at(n int) time.Time {
	step := float64(s.span) / float64(s.events)
	offset := (float64(n%s.events) + s.random.Float64()) * step
	return s.start.Add(time.Duration(offset)).Truncate(time.Millisecond)
}

// customers of the shop.
const customers = 20_000

// Order makes the next order.
func (s *Shop) Order() Order {
	s.orders++
	c, p := cities[s.few(len(cities))], products[s.few(len(products))]
	items := 1 + s.few(5)
	return Order{
		Number: s.orders, Customer: 1 + s.few(customers), City: c.name, Country: c.country,
		Product: p.name, Items: items, Cents: p.cents * int64(items),
		Status: pick(s, statuses), Payment: pick(s, payments), At: s.at(s.orders - 1),
	}
}

// View makes the next page view.
func (s *Shop) View() View {
	s.views++
	v := View{
		Session: "s" + strconv.FormatUint(uint64(s.random.Uint32()>>8), 36),
		Source:  pick(s, sources), Device: pick(s, devices), Status: 200, At: s.at(s.views - 1),
	}
	if s.random.IntN(3) > 0 {
		v.Customer = 1 + s.few(customers)
	}
	if v.Path = pick(s, pages); s.random.IntN(2) == 0 {
		v.Path = "/product/" + strconv.Itoa(1+s.few(len(products)))
	}
	// Most around 60 ms, some twice that, few far more; phones are slower.
	v.Millis = 25 + s.random.IntN(70)
	for s.random.IntN(4) == 0 {
		v.Millis *= 2
	}
	if v.Device == "phone" {
		v.Millis += 40
	}
	switch n := s.random.IntN(1000); {
	case n < 2:
		v.Status = 500
	case n < 12:
		v.Status = 404
	}
	return v
}

// Key is the order's Kafka key: its customer.
func (o Order) Key() []byte { return customerKey(o.Customer) }

// Key is the view's Kafka key: its session.
func (v View) Key() []byte { return []byte(v.Session) }

func customerKey(customer int) []byte {
	return strconv.AppendInt([]byte("c"), int64(customer), 10)
}

const timeLayout = "2006-01-02T15:04:05.000Z"

// JSON is the order's Kafka value.
func (o Order) JSON() []byte {
	b := make([]byte, 0, 256)
	b = append(b, `{"order":`...)
	b = strconv.AppendInt(b, int64(o.Number), 10)
	b = append(b, `,"customer":"`...)
	b = append(b, customerKey(o.Customer)...)
	b = text(b, `","city":"`, o.City)
	b = text(b, `","country":"`, o.Country)
	b = text(b, `","product":"`, o.Product)
	b = append(b, `","items":`...)
	b = strconv.AppendInt(b, int64(o.Items), 10)
	b = append(b, `,"amount":`...)
	b = strconv.AppendFloat(b, float64(o.Cents)/100, 'f', 2, 64)
	b = text(b, `,"status":"`, o.Status)
	b = text(b, `","payment":"`, o.Payment)
	b = append(b, `","placed_at":"`...)
	b = o.At.AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// JSON is the view's Kafka value.
func (v View) JSON() []byte {
	b := make([]byte, 0, 256)
	b = text(b, `{"session":"`, v.Session)
	if v.Customer > 0 {
		b = append(b, `","customer":"`...)
		b = append(b, customerKey(v.Customer)...)
	}
	b = text(b, `","path":"`, v.Path)
	b = text(b, `","source":"`, v.Source)
	b = text(b, `","device":"`, v.Device)
	b = append(b, `","ms":`...)
	b = strconv.AppendInt(b, int64(v.Millis), 10)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(v.Status), 10)
	b = append(b, `,"at":"`...)
	b = v.At.AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// text appends a name and a value; no value of ours needs escaping.
func text(b []byte, name, value string) []byte {
	return append(append(b, name...), value...)
}
