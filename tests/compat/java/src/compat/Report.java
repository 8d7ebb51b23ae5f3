package compat;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs checks, several at a time, and prints a line of JSON for each. */
public final class Report {
    /** What a check does: it returns what it saw, or throws. */
    public interface Check {
        String run() throws Exception;
    }

    private static final class Planned {
        final String capability;
        final Check check;
        Future<String> outcome;

        Planned(String capability, Check check) {
            this.capability = capability;
            this.check = check;
        }
    }

    private static final int AT_A_TIME = 4;
    private static final long WITHIN_SECONDS = 90;

    private final String client;
    private final String version;
    private final PrintStream out = System.out;
    private final Set<String> wanted = new HashSet<>(Arrays.asList(System.getenv("COMPAT_CAPABILITIES").split(" ")));
    private final List<Planned> planned = new ArrayList<>();

    /** The version is what the client's jar says of itself. */
    public Report(String client) throws IOException {
        this.client = client;
        try (InputStream in = Report.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            Properties p = new Properties();
            p.load(in);
            this.version = p.getProperty("version");
        }
    }

    public void check(String capability, Check check) {
        if (wanted.contains(capability)) {
            planned.add(new Planned(capability, check));
        }
    }

    /** Runs what was planned and ends the process: a client's thread that hangs must not hold it. */
    public void runAll(int atATime) throws InterruptedException {
        ExecutorService pool = Executors.newFixedThreadPool(atATime, r -> {
            Thread t = new Thread(r);
            t.setDaemon(true);
            return t;
        });
        for (Planned p : planned) {
            p.outcome = pool.submit(() -> timed(p));
        }
        for (Planned p : planned) {
            try {
                p.outcome.get();
            } catch (ExecutionException e) {
                throw new IllegalStateException(e);
            }
        }
        out.flush();
        Runtime.getRuntime().halt(0);
    }

    public void runAll() throws InterruptedException {
        runAll(AT_A_TIME);
    }

    private String timed(Planned p) throws InterruptedException {
        Thread[] thread = new Thread[1];
        ExecutorService one = Executors.newSingleThreadExecutor(r -> {
            thread[0] = new Thread(r, p.capability);
            thread[0].setDaemon(true);
            return thread[0];
        });
        long began = System.nanoTime();
        Future<String> f = one.submit(p.check::run);
        try {
            String seen = f.get(WITHIN_SECONDS, TimeUnit.SECONDS);
            print(p.capability, true, seen + String.format(" (%.1f s)", (System.nanoTime() - began) / 1e9));
        } catch (TimeoutException e) {
            Throwable late = new TimeoutException("nothing within " + WITHIN_SECONDS + " s");
            late.setStackTrace(thread[0].getStackTrace());
            f.cancel(true);
            print(p.capability, false, told(late));
        } catch (ExecutionException e) {
            print(p.capability, false, told(e.getCause()));
        } finally {
            one.shutdownNow();
        }
        return null;
    }

    /** The error, its causes, and where in the driver it happened. */
    private static String told(Throwable e) {
        StringBuilder s = new StringBuilder();
        for (Throwable t = e; t != null && s.length() < 1500; t = t.getCause()) {
            s.append(s.length() > 0 ? " <- " : "").append(t);
        }
        for (StackTraceElement f : e.getStackTrace()) {
            if (!f.getClassName().startsWith("java.") && !f.getClassName().startsWith("jdk.") && !f.getClassName().startsWith("org.")
                && !f.getClassName().equals("compat.Report") && !f.getMethodName().startsWith("expect")) {
                s.append(" at ").append(f.getFileName()).append(':').append(f.getLineNumber());
                break;
            }
        }
        return s.toString();
    }

    private synchronized void print(String capability, boolean ok, String detail) {
        out.println("{\"client\":" + quote(client) + ",\"version\":" + quote(version) + ",\"capability\":" + quote(capability)
            + ",\"ok\":" + ok + ",\"detail\":" + quote(detail) + "}");
        out.flush();
    }

    private static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                b.append('\\').append(c);
            } else if (c < 0x20) {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }

    public static void expect(boolean holds, String claim) {
        if (!holds) {
            throw new AssertionError(claim);
        }
    }

    public static void expectEqual(Object got, Object want, String what) {
        if (!java.util.Objects.equals(got, want)) {
            throw new AssertionError(what + " is " + got + ", want " + want);
        }
    }

    /** Runs what must fail, and returns the cause. */
    public static Throwable expectFailure(Class<? extends Throwable> kind, Check check) throws Exception {
        try {
            check.run();
        } catch (Throwable t) {
            Throwable cause = t instanceof ExecutionException || t.getClass().getName().equals("org.apache.kafka.common.KafkaException") && t.getCause() != null
                ? t.getCause() : t;
            if (kind.isInstance(cause)) {
                return cause;
            }
            throw new AssertionError("it fails with " + cause + ", want " + kind.getSimpleName(), t);
        }
        throw new AssertionError("it succeeds, want " + kind.getSimpleName());
    }

    /** Waits for what comes true in its own time. */
    public static void eventually(String what, java.util.concurrent.Callable<Boolean> holds) throws Exception {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!holds.call()) {
            if (System.nanoTime() > until) {
                throw new AssertionError("not within 60 s: " + what);
            }
            Thread.sleep(50);
        }
    }
}
