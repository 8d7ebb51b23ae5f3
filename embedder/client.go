package embedder

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/version"
)

// client sends requests to providers over HTTP, and knows what their refusals
// mean.
type client struct {
	http *http.Client
	own  *http.Transport // nil: the transport is somebody else's
}

func newClient(c Config) (*client, error) {
	transport := &client{}
	carrier := c.Transport
	if carrier == nil {
		trusted, err := authorities(c.CAFile)
		if err != nil {
			return nil, err
		}
		transport.own = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: trusted},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		}
		carrier = transport.own
	}
	transport.http = &http.Client{
		Transport: carrier,
		// A key is for who it was given for, and a text too.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return transport, nil
}

// authorities are those of the system, and of a PEM file if there is one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the providers' certificate authority: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the providers' certificate authority: %s has no certificate in PEM", file)
	}
	return pool, nil
}

func (c *client) close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// post sends a JSON body and decodes the answer, of at most answerMax bytes.
// Errors are of type *Error, but for the context's.
func (c *client) post(ctx context.Context, to *url.URL, key string, body any, answerMax int64, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return &Error{Kind: Refused, Err: fmt.Errorf("write the request: %w", err)}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(text))
	if err != nil {
		return &Error{Kind: Misconfigured, Err: errors.New("the endpoint is no URL that can be asked")}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "chronik/"+version.String())
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return notReached(err)
	}
	defer func() {
		_ = response.Body.Close() // only read
	}()
	if response.StatusCode/100 != 2 {
		return refusal(response, key)
	}
	read, err := io.ReadAll(io.LimitReader(response.Body, answerMax+1))
	switch {
	case err != nil:
		return &Error{Kind: Unavailable, Err: fmt.Errorf("read the answer: %w", err)}
	case int64(len(read)) > answerMax:
		return &Error{Kind: BadAnswer, Err: fmt.Errorf("the answer is longer than %d bytes", answerMax)}
	}
	if err := json.Unmarshal(read, answer); err != nil {
		return &Error{Kind: BadAnswer, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return nil
}

// notReached is a request without an answer. The URL may have secrets, and is
// left out.
func notReached(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) {
		return &Error{Kind: BadTLS, Err: err}
	}
	return &Error{Kind: Unavailable, Err: err}
}

// refusalMax is how much of an error's body is read.
const refusalMax = 16 << 10

// refusal is an answer with another status than 2xx.
func refusal(response *http.Response, key string) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, refusalMax))
	if err != nil {
		body = nil // the status says enough
	}
	said := complaintOf(body)
	e := &Error{Kind: kindOfStatus(response.StatusCode, said), RetryAfter: retryAfter(response.Header, time.Now())}
	text := strings.TrimSpace(said.message)
	if key != "" {
		text = strings.ReplaceAll(text, key, "********")
	}
	switch {
	case e.Kind == Redirected:
		text = "it answers at " + hostOf(response.Header.Get("Location")) + "; name that as the endpoint"
	case text == "":
		text = http.StatusText(response.StatusCode)
	}
	e.Err = fmt.Errorf("the provider answers %d: %s", response.StatusCode, text)
	return e
}

// complaint is what a provider says is wrong.
type complaint struct{ message, code, param string }

// complaintOf reads the forms that providers use.
func complaintOf(body []byte) complaint {
	var envelope struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return complaint{message: clip(string(body))}
	}
	var said struct {
		Message string `json:"message"`
		Code    any    `json:"code"` // a text, a number or null
		Param   string `json:"param"`
	}
	var text string
	switch {
	case json.Unmarshal(envelope.Error, &text) == nil && text != "":
		return complaint{message: clip(text)}
	case json.Unmarshal(envelope.Error, &said) == nil && said.Message != "":
		code, _ := said.Code.(string)
		return complaint{clip(said.Message), code, said.Param}
	case envelope.Message != "":
		return complaint{message: clip(envelope.Message)}
	}
	return complaint{message: clip(string(body))}
}

// clip makes a provider's words fit for a line of a log.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const most = 300
	if len(text) > most {
		text = cut(text, most) + "…"
	}
	return text
}

func kindOfStatus(status int, said complaint) Kind {
	switch {
	case said.code == "insufficient_quota" || status == http.StatusPaymentRequired:
		return OverQuota
	case said.code == "model_not_found":
		return NotFound
	case said.param == "dimensions":
		return Dimensions
	}
	switch status {
	case http.StatusTooManyRequests:
		return Throttled
	case http.StatusUnauthorized, http.StatusForbidden:
		return WrongKey
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return NotFound
	case http.StatusRequestTimeout:
		return Timeout
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return Refused
	}
	switch status / 100 {
	case 3:
		return Redirected
	case 4:
		return Misconfigured
	}
	return Unavailable
}

// retryAfter is the pause that a provider asks for, 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 { // OpenAI's and Azure's
		return within(time.Duration(ms * float64(time.Millisecond)))
	}
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
		return within(time.Duration(seconds * float64(time.Second)))
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return within(at.Sub(now))
	}
	return 0
}

// within bounds a pause; what overflowed is negative.
func within(d time.Duration) time.Duration {
	if d < 0 || d > pauseLongest {
		return pauseLongest
	}
	return d
}

// hostOf is the part of a URL that may be shown.
func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host + u.Path
}
