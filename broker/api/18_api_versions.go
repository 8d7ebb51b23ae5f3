package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ApiVersions
//
//   - 3 flexible, the client names its software (KIP-511); 4 may name features
//     whose lowest version is 0.
//
// The response header is version 0 always. A version that is not served is
// answered in version 0 with UNSUPPORTED_VERSION and the whole table, without
// looking at the request: the client goes on with what it finds there.
func apiVersionsRoute() *route {
	return &route{key: apiVersionsKey, name: "ApiVersions", min: 0, max: 4, busy: true, start: whole(apiVersions)}
}

const apiVersionsKey = 18

func apiVersions(_ context.Context, h *Handler, r *wire.Request, req *kmsg.ApiVersionsRequest) kmsg.Response {
	if req.Version >= 3 {
		if !softwareName(req.ClientSoftwareName) || !softwareName(req.ClientSoftwareVersion) {
			return h.versions(kerr.InvalidRequest.Code)
		}
		r.Conn.SetSoftware(wire.Software{Name: req.ClientSoftwareName, Version: req.ClientSoftwareVersion})
	}
	resp := h.versions(0)
	resp.FinalizedFeaturesEpoch = 0 // they are those of the build
	for _, f := range features() {
		if req.Version >= 4 { // where a version 0 can be told
			resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{Name: f.name, MaxVersion: f.version})
		}
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
			Name: f.name, MinVersionLevel: f.version, MaxVersionLevel: f.version,
		})
	}
	return resp
}

// feature is one of Kafka's features, by the version that is in force.
type feature struct {
	name    string
	version int16
}

// features are those by which clients decide what to use. transaction.version
// belongs here once there are transactions.
func features() []feature {
	return []feature{{"group.version", 1}} // the consumer protocol, KIP-848
}

// softwareName applies KIP-511: letters, digits, '-' and '.', those two only inside.
func softwareName(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case (c == '-' || c == '.') && 0 < i && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}

func (h *Handler) versions(code int16) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = code
	resp.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, 0, len(h.routes))
	for _, route := range h.routes {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: route.key, MinVersion: route.min, MaxVersion: route.max})
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return int(a.ApiKey) - int(b.ApiKey) })
	return resp
}

// unknownApiVersions answers a version that is not served.
type unknownApiVersions struct{ h *Handler }

// Finish implements wire.Work.
func (u unknownApiVersions) Finish(_ context.Context, w *wire.Response) error {
	resp := u.h.versions(kerr.UnsupportedVersion.Code)
	resp.Version = 0
	w.Begin(false)
	w.Buf = resp.AppendTo(w.Buf)
	return nil
}
