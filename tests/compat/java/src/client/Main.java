package client;

import compat.Report;

/** The newest Java client: producer, consumer with both group protocols, admin. */
public final class Main {
    public static void main(String[] args) throws Exception {
        Report report = new Report(args[0]);
        Produce.plan(report);
        Consume.plan(report);
        Groups.plan(report);
        Topics.plan(report);
        Operate.plan(report);
        Interchange.plan(report);
        Restart.plan(report);
        report.runAll();
    }
}
