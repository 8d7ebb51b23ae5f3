package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// reviews is how many the demo makes.
const reviews = 2000

// review is what a customer of the shop wrote, and what it is about.
type review struct {
	Product string `json:"product"`
	Text    string `json:"text"`
	about   string
}

func (r review) JSON() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts always can be written
	}
	return text
}

// opinions are what reviews say, by what that is about.
var opinions = map[string][]string{
	"delay":   {"my parcel came two weeks late", "the package took forever", "still waiting for the delivery", "arrived long after the promised day"},
	"broken":  {"it came with a crack in the glass", "the handle fell off at once", "arrived in pieces", "leaks from the first day"},
	"price":   {"far too expensive for what it is", "a bargain", "I paid half of that elsewhere", "worth every cent"},
	"service": {"nobody answers the phone", "a friendly clerk sorted it out", "the hotline was of great help", "my mails were ignored"},
}

var (
	topicsOfReviews = []string{"delay", "broken", "price", "service"}
	products        = []string{"espresso maker", "teapot", "kettle", "grinder", "milk frother"}
	openings        = []string{"", "Sadly, ", "Well: ", "To be honest, ", "As always, "}
	closings        = []string{"", " Never mind.", " What a week!", " My sister says the same.", " I told you so."}
)

// inventReviews makes all reviews, the same ones for each seed.
func inventReviews(seed uint64) []review {
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	all := make([]review, reviews)
	for i := range all {
		about := pick(topicsOfReviews)
		product := pick(products)
		all[i] = review{
			Product: product, about: about,
			Text: fmt.Sprintf("%s%s.%s (%s, order %d)", pick(openings), pick(opinions[about]), pick(closings), product, 10_000+random.IntN(90_000)),
		}
	}
	return all
}
