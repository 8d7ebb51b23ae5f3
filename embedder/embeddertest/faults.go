package embeddertest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/faultplan"
)

// Op is a protocol.
type Op = faultplan.Op

// The protocols, and Any for both.
const (
	Any         = faultplan.Any
	OpenAI   Op = "openai"
	External Op = "external"
)

// Effect is what goes wrong.
type Effect = faultplan.Effect

const (
	Delay    Effect = "delay"    // waits, and then answers
	Hang     Effect = "hang"     // never answers
	Throttle Effect = "throttle" // 429
	Fail     Effect = "fail"     // 500
	RetryIn  Effect = "retry-in" // 429 that says when to come again
	BackIn   Effect = "back-in"  // 503 that says it
	Quota    Effect = "quota"    // 429, and waiting does not help
	Forbid   Effect = "forbid"   // 401
	Refuse   Effect = "refuse"   // 400
	NoModel  Effect = "no-model" // 404
	Redirect Effect = "redirect" // 307 to another host
	Cut      Effect = "cut"      // the connection breaks in the middle of the answer
	Garbage  Effect = "garbage"  // it is not JSON
	Huge     Effect = "huge"     // it does not end
	Half     Effect = "half"     // half of the vectors
	Long     Effect = "long"     // vectors of one dimension more
	Ragged   Effect = "ragged"   // the last vector has one dimension less
	NaN      Effect = "nan"      // a number is none
	Reorder  Effect = "reorder"  // OpenAI: the vectors backwards, with the right index
	Twice    Effect = "twice"    // OpenAI: an index twice
)

// Plan is a list of rules; the first that strikes a request decides it, but a
// Delay lets those after it strike as well. A rule's name is part of a text of the
// request. Its text:
//
//   - retry-in=2s nth=1; openai poison refuse p=1; external * delay=20ms every=10
type Plan = faultplan.Plan

// ParsePlan reads a plan's text.
func ParsePlan(text string) (Plan, error) {
	return faultplan.Language{
		Ops:    []Op{OpenAI, External},
		Plain:  []Effect{Hang, Throttle, Fail, Quota, Forbid, Refuse, NoModel, Redirect, Cut, Garbage, Huge, Half, Long, Ragged, NaN, Reorder, Twice},
		Timed:  []Effect{Delay, RetryIn, BackIn},
		Naming: "TEXT",
	}.Parse(text)
}

// fails answers with an error, or not at all, if that is a request's fate.
func (s *Server) fails(w http.ResponseWriter, r *http.Request, f fate) bool {
	switch f.effect {
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	case Throttle, RetryIn:
		retryIn(w, f.retry)
		complain(w, http.StatusTooManyRequests, "rate_limit_exceeded", "slow down")
	case BackIn:
		retryIn(w, f.retry)
		complain(w, http.StatusServiceUnavailable, "", "come back later")
	case Fail:
		complain(w, http.StatusInternalServerError, "", "something broke")
	case Quota:
		complain(w, http.StatusTooManyRequests, "insufficient_quota", "You exceeded your current quota")
	case Forbid:
		complain(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided: "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	case Refuse:
		complain(w, http.StatusBadRequest, "", "I do not like this text")
	case NoModel:
		complain(w, http.StatusNotFound, "model_not_found", "there is no such model")
	case Redirect:
		http.Redirect(w, r, "http://elsewhere.invalid/embed?secret=1", http.StatusTemporaryRedirect)
	default:
		return false // it has an answer, if a wrong one
	}
	return true
}

// retryIn writes Retry-After, which has whole seconds; parts of one are written as
// OpenAI does.
func retryIn(w http.ResponseWriter, d time.Duration) {
	switch {
	case d == 0:
	case d%time.Second == 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(d/time.Second)))
	default:
		w.Header().Set("Retry-After-Ms", strconv.Itoa(int(d/time.Millisecond)))
	}
}
