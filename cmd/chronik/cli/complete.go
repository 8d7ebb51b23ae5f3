package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// completeWithin bounds what a press of the tab key may take.
const completeWithin = 2 * time.Second

// topics completes arguments with the names of the topics: the first argument,
// or all where the command takes several. Without a broker there are none.
func (b *bootstrap) topics(several bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeWithin)
		defer cancel()
		var names []string
		err := b.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
			topics, err := admin.ListTopics(ctx)
			names = topics.Names()
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
