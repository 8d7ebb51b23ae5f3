package tools;

import static compat.Report.expect;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.Exit;

/**
 * One run of a tool's main, with what it wrote and how it ended. Ending the
 * process is the only thing that is not real: the thread that asks for it stops
 * for good, then come the hooks that a process runs at its end.
 */
final class Tool {
    static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");
    static final String PREFIX = System.getenv("COMPAT_PREFIX");

    final String name;
    final String out;
    final String err;
    final int status;

    private Tool(String name, String out, String err, int status) {
        this.name = name;
        this.out = out;
        this.err = err;
        this.status = status;
    }

    /** Runs the main with arguments that end with --bootstrap-server. */
    static Tool run(String main, String... args) throws Exception {
        return runWith("", main, args);
    }

    static Tool runWith(String input, String main, String... args) throws Exception {
        String[] all = new String[args.length + 2];
        System.arraycopy(args, 0, all, 0, args.length);
        all[args.length] = "--bootstrap-server";
        all[args.length + 1] = BOOTSTRAP;
        return runBare(input, main, all);
    }

    static Tool runBare(String input, String main, String... args) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        InputStream in = System.in;
        ByteArrayOutputStream toOut = new ByteArrayOutputStream();
        ByteArrayOutputStream toErr = new ByteArrayOutputStream();
        List<Runnable> hooks = new ArrayList<>();
        CompletableFuture<Integer> ended = new CompletableFuture<>();
        try {
            System.setOut(new PrintStream(toOut, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(toErr, true, StandardCharsets.UTF_8));
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            Exit.Procedure exit = (code, message) -> {
                if (message != null) {
                    System.err.println(message);
                }
                ended.complete(code);
                while (true) {
                    LockSupport.park(); // nothing comes after the end of a process
                }
            };
            Exit.setExitProcedure(exit);
            Exit.setHaltProcedure(exit);
            Exit.setShutdownHookAdder((hook, runnable) -> hooks.add(runnable));
            Thread t = new Thread(() -> {
                try {
                    Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) args);
                    ended.complete(0);
                } catch (InvocationTargetException e) {
                    e.getCause().printStackTrace();
                    ended.complete(1);
                } catch (Throwable e) {
                    ended.completeExceptionally(e);
                }
            }, main);
            t.setDaemon(true);
            t.start();
            ended.get();
            hooks.forEach(Runnable::run);
        } finally {
            System.out.flush();
            System.err.flush();
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
        String name = main.substring(main.lastIndexOf('.') + 1);
        return new Tool(name, toOut.toString(StandardCharsets.UTF_8), toErr.toString(StandardCharsets.UTF_8), ended.get());
    }

    /** Runs a main that ends its process in ways that only a process has, in one of its own. */
    static Tool process(String main, String... args) throws Exception {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", System.getProperty("java.class.path"), main));
        command.addAll(List.of(args));
        command.addAll(List.of("--bootstrap-server", BOOTSTRAP));
        Path out = file("");
        Path err = file("");
        Process p = new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile()).start();
        try {
            expect(p.waitFor(60, TimeUnit.SECONDS), main + " ends within 60 s; it said " + Files.readString(out) + Files.readString(err));
        } finally {
            p.destroyForcibly();
        }
        return new Tool(main.substring(main.lastIndexOf('.') + 1), Files.readString(out), Files.readString(err), p.exitValue());
    }

    /** It ended well and said nothing of an error. */
    Tool ok() {
        expect(status == 0 && !out.contains("Error:") && !out.contains("Exception") && !err.contains("Exception"),
            name + " ends with " + status + ": " + said());
        return this;
    }

    /** It failed and said why. */
    Tool fails(String why) {
        expect(status != 0 || out.contains("Error") || err.contains("Error") || err.contains("Exception") || out.contains("Exception"), name + " fails, it says " + said());
        expect((out + err).contains(why), name + " says " + why + ", not " + said());
        return this;
    }

    /** Some line of its output has the pattern; blanks stand for any white space. */
    Tool says(String pattern) {
        expect(Pattern.compile(pattern.replace(" ", "\\s+"), Pattern.MULTILINE).matcher(out).find(), name + " says " + pattern + ", not " + said());
        return this;
    }

    Tool saysNot(String text) {
        expect(!out.contains(text), name + " does not say " + text + ": " + said());
        return this;
    }

    private String said() {
        String all = (out + "\n" + err).strip().replaceAll("\\s+", " ");
        return all.length() > 900 ? all.substring(0, 900) + "…" : all;
    }

    static Path file(String text) throws Exception {
        Path p = Files.createTempFile(Path.of(System.getenv("COMPAT_TMP")), "tool", ".tmp");
        Files.writeString(p, text);
        return p;
    }
}
