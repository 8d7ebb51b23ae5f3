package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// UpdateFeatures
//
//   - 1 dry runs and kinds of downgrade; 2 one error for all, no results.
//
// Features are those of the build, and all of them are in force. So an update
// to the level that a feature has is done already, and any other is refused.
func updateFeaturesRoute() *route {
	return &route{key: 57, name: "UpdateFeatures", min: 0, max: 2, start: whole(updateFeatures),
		note: "features are those of the build"}
}

func updateFeatures(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.Results = make([]kmsg.UpdateFeaturesResponseResult, len(req.FeatureUpdates))
	for i, asked := range req.FeatureUpdates {
		err := updatedFeature(asked)
		resp.Results[i] = kmsg.UpdateFeaturesResponseResult{Feature: asked.Feature, ErrorCode: h.code(err), ErrorMessage: message(err)}
		if err != nil && req.Version >= 2 && resp.ErrorCode == 0 {
			resp.ErrorCode, resp.ErrorMessage = h.code(err), message(err)
		}
	}
	return resp
}

func updatedFeature(asked kmsg.UpdateFeaturesRequestFeatureUpdate) error {
	all := features()
	i := slices.IndexFunc(all, func(f feature) bool { return f.name == asked.Feature })
	switch {
	case i < 0:
		return fmt.Errorf("%w: there is no feature %q", kerr.InvalidUpdateVersion, asked.Feature)
	case asked.MaxVersionLevel != all[i].version:
		return fmt.Errorf("%w: %s has the version %d in this build, and no other", kerr.InvalidUpdateVersion, asked.Feature, all[i].version)
	}
	return nil
}
