package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

func newRun(e env) *cobra.Command {
	var s settings
	var roles string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run one or more roles as a node of a cluster",
		Long: `Run one or more roles as a node of a cluster: nodes meet in an etcd and in a
bucket that are there, which every node is told the same way. Prints one line when
everything answers, and stops cleanly on ^C or SIGTERM: readiness first, then, after
drain.delay, what it has is flushed and handed over. A second signal ends it at once.`,
		Example: `  export CHRONIK_ETCD_ENDPOINTS=http://etcd-0:2379,http://etcd-1:2379,http://etcd-2:2379
  export OBJECT_STORE_BACKEND=s3 S3_ENDPOINT=http://minio:9000 S3_BUCKET=chronik

  CHRONIK_BROKER_ID=1 CHRONIK_KAFKA_ADVERTISED=kafka-1 chronik run --roles broker
  chronik compactor                                      # the same as run --roles compactor
  chronik query --http :6092
  chronik run --roles compactor,query --config chronik.yaml`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := rolesOf(roles)
			if err != nil {
				return err
			}
			return s.run(c, e, list)
		},
	}
	c.Flags().StringVar(&roles, "roles", "", "comma list of "+strings.Join(config.AllRoles(), ", "))
	s.add(c, nodeFlags(config.AllRoles())...)
	return c
}

// rolesOf reads --roles.
func rolesOf(text string) ([]string, error) {
	var roles []string
	for role := range strings.SplitSeq(text, ",") {
		if role = strings.TrimSpace(role); role != "" {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		return nil, usagef("--roles says what to run: one or more of %s", strings.Join(config.AllRoles(), ", "))
	}
	return roles, nil
}

// newRole is the short form of `chronik run --roles ROLE`.
func newRole(e env, role, does, example string) *cobra.Command {
	var s settings
	what := role
	if role == config.RoleQuery {
		what = "query node"
	}
	c := &cobra.Command{
		Use:     role,
		Short:   "Run a " + what + ": " + does,
		Long:    "Run a " + what + ", which " + does + ". The same as chronik run --roles " + role + ";\nsee chronik run --help for what a node of a cluster is told.",
		Example: example,
		Args:    exactly(),
		RunE:    func(c *cobra.Command, _ []string) error { return s.run(c, e, []string{role}) },
	}
	s.add(c, nodeFlags([]string{role})...)
	return c
}

func newBroker(e env) *cobra.Command {
	return newRole(e, config.RoleBroker, "takes records from Kafka clients and serves them", `  CHRONIK_BROKER_ID=1 CHRONIK_KAFKA_ADVERTISED=kafka-1 chronik broker --data /var/lib/chronik
  chronik broker --set broker.id=auto --set kafka.advertised=$(hostname -f)     # in a StatefulSet`)
}

func newCompactor(e env) *cobra.Command {
	return newRole(e, config.RoleCompactor, "rewrites what brokers committed into log and Parquet files", `  chronik compactor
  chronik compactor --http :0 --set compactor.workers=4`)
}

func newQuery(e env) *cobra.Command {
	return newRole(e, config.RoleQuery, "answers SQL over HTTP", `  chronik query
  chronik query --http :6092 --set query.cache_bytes_max=100GiB`)
}

// run runs roles as a node of a cluster.
func (s *settings) run(c *cobra.Command, e env, roles []string) error {
	s.roles = roles
	cfg, err := s.load(c, e)
	if err != nil {
		return err
	}
	return runNode(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
}
