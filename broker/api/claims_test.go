package api_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// claims is what servers that speak Kafka's protocol get wrong, each with the
// tests that would notice. Who changes one of these finds here what it keeps.
var claims = []struct {
	what  string
	tests string
}{
	// Framing, headers, order.
	{"Produce and SaslHandshake begin at 0, or old librdkafka neither compresses nor authenticates", "TestOldLibrdkafkaFindsTheVersionsThatItLooksFor TestTheLibrdkafkaOfDebianEnablesWhatItKnows TestProduceBefore3IsAdvertisedAndRefusedWithoutClosing"},
	{"ApiVersions answers any version, under response header 0", "TestApiVersionsHasTheOldResponseHeaderAlways TestApiVersionsAnswersVersionsOfTheFuture"},
	{"the client id of a flexible header is not compact", "TestTheClientIDOfAFlexibleHeaderIsNotCompact TestConformanceHeadersOfEveryKind"},
	{"tags that nobody knows are skipped, everywhere", "TestConformanceUnknownTagsAreSkippedEverywhere"},
	{"answers come in the order of the requests, and who does not read them is not read from", "TestAnswersOfPipelinedRequestsOfManyKindsKeepTheirOrder TestPipelinedProducesAreStartedInOrderBeforeTheFirstIsDurable TestALongPollHoldsBackItsOwnConnectionAndNoOther TestAFullPipelineStopsTheReading"},
	{"a length that is announced costs nothing", "TestARequestOverTheLimitClosesTheConnection TestAnnouncedBytesCostNothingUntilTheyCome TestARequestThatAnnouncesManyTagsCostsNothing TestAProduceRequestMayNotHaveAnyNumberOfEmptyTopics"},
	{"idle connections are closed, but not one that waits for us", "TestAnIdleConnectionIsClosedButNotOneThatWaitsForUs"},
	{"who is throttled is answered first and muted then; old clients wait for the answer", "TestAMutedConnectionIsAnsweredAndThenNotRead TestAConsumerOverItsQuotaGetsNothingForAWhile TestOldClientsWaitForTheirAnswerInstead"},
	{"both addresses of localhost are listened on", "TestLocalhostIsListenedOnUnderOnePort"},

	// Topics and administration.
	{"no list is null that clients take for a list, and no source is -1", "TestConformanceEveryVersionIsAnsweredInFull TestDescribeTopicPartitionsHasNoNullList TestCreateTopicsFillsInDefaultsAndTellsWhatItMade"},
	{"bad and colliding topic names are refused wherever topics are named", "TestBadTopicNamesAreRefusedEverywhere TestNamesThatCollideWithinOneRequestAreRefused"},
	{"CreateTopics refuses by topic, and unknown settings by name", "TestCreateTopicsRefusesByTopic TestConformanceWhatIsWrongIsRefusedByItsCode"},
	{"Metadata tells all from none, and creates only when both sides allow it", "TestMetadataTellsAllFromNone TestMetadataCreatesOnlyWhenBothSidesAllowIt"},
	{"a topic that is deleted and made anew is another one", "TestADeletedAndRecreatedTopicHasAnotherID TestFetchOfAnIdThatIsGoneIsUnknownTopicID TestASessionByTopicIDNoticesARecreatedTopic"},
	{"DescribeConfigs tells each value's source, and fails by resource", "TestDescribeConfigsTellsWhereAValueComesFrom TestDescribeConfigsFailsByResource"},
	{"AlterConfigs replaces everything, IncrementalAlterConfigs what it names", "TestAlterConfigsReplacesTheWholeSet TestIncrementalAlterConfigsChangesOnlyWhatItNames"},
	{"CreatePartitions only ever adds", "TestCreatePartitionsOnlyEverAdds"},
	{"the controller is a listed broker", "TestTheControllerIsAListedBroker"},

	// Produce.
	{"what is stored is what was sent, but for offset and epoch", "TestProduceStoresTheClientsBytesWithOffsetAndEpochPatched"},
	{"a batch is one, whole, counted and in order, or refused alone", "TestProduceRefusesABadBatchAndTakesItsNeighbour TestMalformedBatchesAreRefusedByTheirReason TestProduceNamesTheBadRecord"},
	{"null and empty are two things", "TestFranzGoKeepsNullAndEmptyApart"},
	{"a batch that is too large is refused without closing", "TestProduceOverTheLimitIsRefusedWithoutClosing"},
	{"compression.type holds for what producers send; zstd is not for clients that cannot read it", "TestATopicsCompressionTypeHoldsForWhateverProducersSend TestZstdIsRefusedBeforeProduce7 TestZstdTopicsAreRefusedToClientsThatCannotReadThem TestXerialFramedSnappy"},
	{"timestamps have bounds, and LogAppendTime follows a live change", "TestTimestampsOutsideTheBoundsAreRefused TestLogAppendTimeIsToldAndFollowsALiveChange"},
	{"the last five batches of a producer are recognised, and get their first answer", "TestAnIdempotentDuplicateGetsTheFirstAnswer TestTheLastFiveBatchesOfAProducerAreRecognised TestSequencesGoOnAtZeroBehindTheLargest TestARepeatOfABatchThatIsUnderWayGetsItsOffset TestATimedOutProduceIsRecognisedWhenItComesAgain"},
	{"acks=0 has no answer, and an error closes", "TestAcksZeroHasNoAnswer TestAcksZeroClosesTheConnectionOnAnError"},
	{"who asks the wrong broker is told the right one", "TestTheWrongLeaderNamesTheRightOne"},

	// Fetch, ListOffsets.
	{"the first batch comes whatever its size, and only that of the first partition with data", "TestFetchReturnsTheFirstBatchWhateverItsSize TestOnlyTheFirstPartitionWithDataMayExceedTheLimits"},
	{"an offset inside a batch gets the whole batch", "TestAnOffsetInsideABatchGetsTheWholeBatch"},
	{"a wait is for all partitions together, and ends at an error", "TestFetchWaitsForMinBytesOverAllPartitionsButNotWithAnError TestFetchWakesOnAnyOfItsPartitions TestFetchOutsideTheLogIsAnsweredAtOnceWithItsBounds"},
	{"fetch sessions: epochs, omissions, turns, an end", "TestASessionIsRefusedForTheRightReason TestASessionAnswersOnlyPartitionsWithNews TestASessionServesItsPartitionsInTurn TestSessionEpochsWrapToOne TestFullSessionCacheEvictsAsKafkaDoes"},
	{"aborted transactions are null only when not asked for", "TestAbortedTransactionsAreNullOnlyWhenNotAskedFor"},
	{"leader epochs fence, and tell where they ended", "TestFetchChecksTheLeaderEpoch TestFetchReportsADivergingEpoch TestLeaderEpochsTellWhereTheyEnded"},
	{"only who says its rack is sent to another broker", "TestOldRecordsAreReadFromABrokerInTheClientsRack"},
	{"a high watermark never goes back", "TestWhatReadersWereToldNeverGoesBack"},
	{"an offset by time is that of the record, inside compressed batches too", "TestOffsetsByTimeAreExactInTailAndBucket TestSpecialTimesNeedTheirVersions"},
	{"deleted records stay deleted", "TestDeletedRecordsStayDeletedAndNothingElseGoes TestDeleteRecordsAnswersEachPartitionByItself"},

	// Groups.
	{"what was never committed is -1 and no error", "TestOffsetFetchOfWhatWasNeverCommittedIsMinusOneWithoutAnError"},
	{"a new member learns its id first, and is forgotten when it does not come with it", "TestANewMemberIsToldItsIDFirst TestANewMemberIDIsForgottenWhenNobodyComesWithIt"},
	{"only an empty group waits for more members", "TestAnEmptyGroupWaitsForMoreMembersBeforeItsFirstGeneration TestTheInitialDelayEndsWithTheRebalanceTimeout"},
	{"session timeouts have bounds, the protocol is one that all know", "TestAJoinIsRefusedForItsOwnFaults TestTheProtocolIsOneThatAllKnowAndMostPrefer"},
	{"a follower that asks again disturbs nobody, the leader does; who waits in a join is alive", "TestAFollowerThatAsksAgainRebalancesNobody TestTheLeaderThatJoinsAgainRebalances TestWaitingInAJoinKeepsAMemberAlive"},
	{"offsets expire when nobody uses them, and go with their topic", "TestOffsetsExpireWhenNobodyUsesThem TestATopicThatWasMadeAnewHasNoCommittedOffsets"},
	{"who is outside commits only to a group that is empty", "TestWhoMayCommit"},
	{"a static member keeps its assignment, over a restart of the coordinator too", "TestAStaticMemberComesBackToItsAssignmentWithoutARebalance TestAStaticMemberFencesItsFormerSelf TestKillingTheCoordinatorRebalancesNothing"},
	{"a commit is refused by the partition", "TestOffsetCommitRefusesOnlyTheBadPartition TestMetadataOfAnOffsetIsBounded"},
	{"the consumer protocol: epochs, errors, up and down", "TestConsumerHeartbeatsAreRefusedByTheirErrors TestClientsAreToldThatTheConsumerProtocolIsInForceAndTransactionsAreNot TestAGroupIsUpgradedAndDowngradedWhileItReads TestAGroupIsDescribedByTheAPIOfItsProtocolAlone"},
	{"groups in use are not deleted, nor the offsets of what they read", "TestGroupsInUseAreNotDeletedNorTheOffsetsOfTopicsThatTheyRead"},
	{"a group has one coordinator, whoever is asked, and only that one answers", "TestAGroupHasNoCoordinatorWhileNobodyOwnsItsSlot TestASlotHasOneOwnerAtATime TestOnlyTheCoordinatorAnswers"},
	{"no partition has two owners, none is forgotten, however many come and go", "TestFiveHundredConsumersComeAndGoInAClassicGroup TestFiveHundredConsumersComeAndGoInAConsumerGroup TestNoPartitionIsEverReadByTwoAndEveryGroupSettles TestOneAssignmentAGenerationUnderAnyFault"},

	// What is ours.
	{"a session that is over writes nothing", "TestNewSessionFencesTheOldOne TestFencedSessionTakesAndReleasesNothing TestOffsetsOfALostSlotAreRefused TestALostSessionIsFollowedByAnother"},
	{"what is not built says so", "TestAccessControlIsAnsweredSecurityDisabled TestAClientThatWantsSASLIsToldAtOnce TestDelegationTokensAreDisabled TestThereAreNoTransactions"},
}

func TestEveryClaimHasItsTests(t *testing.T) {
	named := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	there := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range named.FindAllSubmatch(source, -1) {
			there[string(match[1])] = true
		}
		return err
	})
	require.NoError(t, err)
	for _, claim := range claims {
		require.NotEmpty(t, claim.tests)
		for _, name := range strings.Fields(claim.tests) {
			if !there[name] {
				t.Errorf("%s: there is no %s", claim.what, name)
			}
		}
	}
}
