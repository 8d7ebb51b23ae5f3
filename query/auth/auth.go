// Package auth is the seam at which a query node learns who asks: HTTP and
// Arrow Flight take credentials off the wire in their own ways and put the same
// question to one Authenticator.
//
// No users can be configured yet. Until then the Authenticator is Anonymous,
// which takes every client for the same principal, whatever it shows: drivers
// that always log in work, and nobody is kept out or given more.
package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
)

// ErrUnauthenticated: the credentials are wrong, or there are none where some
// are needed. The text around it is for the client.
var ErrUnauthenticated = errors.New("unauthenticated")

// Credentials are what a client shows. The zero value is a client that shows
// none.
type Credentials struct {
	User, Password string // of Basic
	Token          string // of Bearer
}

// Principal is who asks, as ACLs name users.
type Principal struct{ Name string }

// Authenticator tells who a client is. Its methods may be called at once.
type Authenticator interface {
	// Authenticate returns whose the credentials are, or an error that wraps
	// ErrUnauthenticated.
	Authenticate(ctx context.Context, shown Credentials) (Principal, error)
	// Token returns a bearer token by which Authenticate, on any node, knows the
	// principal again.
	Token(ctx context.Context, p Principal) (string, error)
}

// Anonymous takes everybody for the principal of that name.
type Anonymous string

// Authenticate implements Authenticator.
func (a Anonymous) Authenticate(context.Context, Credentials) (Principal, error) {
	return Principal{Name: string(a)}, nil
}

// Token implements Authenticator.
func (a Anonymous) Token(context.Context, Principal) (string, error) { return string(a), nil }

// ParseHeader reads the value of an Authorization header. Empty is no
// credentials; another scheme than Basic or Bearer is an error.
func ParseHeader(value string) (Credentials, error) {
	if value == "" {
		return Credentials{}, nil
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer") && rest != "":
		return Credentials{Token: rest}, nil
	case strings.EqualFold(scheme, "Basic") && rest != "":
		// Some clients of Flight leave the padding out.
		text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
		user, password, found := strings.Cut(string(text), ":")
		if err != nil || !found {
			return Credentials{}, &Refusal{"the Basic credentials are not base64 of user:password"}
		}
		return Credentials{User: user, Password: password}, nil
	}
	return Credentials{}, &Refusal{"the Authorization header must be Basic or Bearer"}
}

// Refusal is an ErrUnauthenticated with a text for the client.
type Refusal struct{ Message string }

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Unwrap makes it an ErrUnauthenticated.
func (r *Refusal) Unwrap() error { return ErrUnauthenticated }
