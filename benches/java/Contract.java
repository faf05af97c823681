import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.ref.Reference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;

/** What the measured program says and answers, in lines over its standard streams. */
final class Contract {
    /** {@code callers} are on all connections together; one in {@code timedEvery} calls of each is timed. */
    record Row(String name, Work work, int callers, int timedEvery, int len) {}

    enum Work { ADD, ECHO_BYTES, ECHO_ENTITIES, OBJECTS, CALLBACKS, HELD_OBJECTS }

    static final List<Row> ROWS = List.of(
            new Row("one-caller", Work.ADD, 1, 1, 0),
            new Row("callers-64", Work.ADD, 64, 16, 0),
            new Row("callers-256", Work.ADD, 256, 16, 0),
            new Row("connections-100", Work.ADD, 400, 16, 0),
            new Row("echo-64kib", Work.ECHO_BYTES, 1, 1, 64 << 10),
            new Row("echo-1mib", Work.ECHO_BYTES, 1, 1, 1 << 20),
            new Row("echo-16mib", Work.ECHO_BYTES, 1, 1, 16 << 20),
            new Row("echo-structs", Work.ECHO_ENTITIES, 1, 1, 0),
            new Row("objects", Work.OBJECTS, 1, 1, 0),
            new Row("callbacks", Work.CALLBACKS, 1, 1, 0),
            new Row("held-objects", Work.HELD_OBJECTS, 1, 1, 0));

    /** Milliseconds; {@code url} is null for a server. */
    record Options(Row row, String url, long warmUp, long measured, int count) {}

    /** What one caller does again and again. */
    interface Once {
        void call() throws Exception;
    }

    static final class UsageException extends Exception {
        private static final long serialVersionUID = 1;

        UsageException(String message) {
            super(message);
        }
    }

    static final class UnsupportedException extends Exception {
        private static final long serialVersionUID = 1;

        UnsupportedException(String row) {
            super(row);
        }
    }

    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

    private Contract() {}

    static Options parse(String[] args) throws UsageException, UnsupportedException {
        if (args.length == 0 || !List.of("serve", "call").contains(args[0])) {
            throw new UsageException("neither `serve` nor `call`");
        }
        boolean serves = args[0].equals("serve");
        String row = null;
        String url = null;
        long warmUp = 0;
        long measured = 0;
        int count = 1_000_000;
        for (String arg : Arrays.asList(args).subList(1, args.length)) {
            String[] pair = arg.split("=", 2);
            String value = pair.length == 2 ? pair[1] : "";
            try {
                switch (serves && !pair[0].equals("--row") ? "" : pair[0]) {
                    case "--row" -> row = value;
                    case "--url" -> url = value;
                    case "--warm-up" -> warmUp = Long.parseLong(value);
                    case "--measured" -> measured = Long.parseLong(value);
                    case "--count" -> count = Integer.parseInt(value);
                    default -> throw new UsageException("unexpected `" + arg + "`");
                }
            } catch (NumberFormatException e) {
                throw new UsageException("not a number: `" + value + "`");
            }
        }
        if (row == null || (url == null && !serves)) {
            throw new UsageException("a row, and to call a url, are needed");
        }
        for (Row known : ROWS) {
            if (known.name().equals(row)) {
                return new Options(known, url, warmUp, measured, count);
            }
        }
        throw new UnsupportedException(row);
    }

    static void say(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            line.append(line.isEmpty() ? "" : " ").append(word);
        }
        System.out.println(line);
        System.out.flush();
    }

    static void check(boolean right) {
        if (!right) {
            throw new IllegalStateException("a wrong answer came back");
        }
    }

    /** Answers questions until there are no more. */
    static void answerQuestions() throws IOException {
        for (String question = INPUT.readLine(); question != null; question = INPUT.readLine()) {
            switch (question) {
                case "cpu" -> say("cpu", SYSTEM.getProcessCpuTime());
                case "memory" -> say("memory", memory());
                case "heap" -> say("heap", heap());
                default -> say("unknown");
            }
        }
    }

    /** Has so many callers call, each in its thread, once to warm up and once measured. */
    static void measure(Options options, Callable<Once> caller) throws Exception {
        Row row = options.row();
        callFor(row, options.warmUp(), caller);
        say("warm");
        waitForGo();

        long start = System.nanoTime();
        long cpuStart = SYSTEM.getProcessCpuTime();
        Tally[] tallies = callFor(row, options.measured(), caller);
        long took = System.nanoTime() - start;
        long cpu = SYSTEM.getProcessCpuTime() - cpuStart;

        long calls = Arrays.stream(tallies).mapToLong(tally -> tally.calls).sum();
        long[] nanos = Arrays.stream(tallies)
                .flatMapToLong(tally -> Arrays.stream(tally.nanos, 0, tally.timed))
                .toArray();
        Arrays.sort(nanos);
        say("done", calls, took, perMille(nanos, 500), perMille(nanos, 990), perMille(nanos, 999), cpu);
    }

    /** Tells what it takes to hold what {@code acquire} returns. */
    static void hold(Options options, Callable<?> acquire) throws Exception {
        long before = heap();
        Object held = acquire.call();
        long after = heap();
        say("warm");
        waitForGo();
        say("done", options.count(), before, after, 0, 0, 0);
        Reference.reachabilityFence(held);
    }

    private static Tally[] callFor(Row row, long millis, Callable<Once> caller) throws Exception {
        long end = System.nanoTime() + millis * 1_000_000;
        Tally[] tallies = new Tally[row.callers()];
        Thread[] threads = new Thread[row.callers()];
        for (int number = 0; number < threads.length; ++number) {
            tallies[number] = new Tally(caller.call(), row.timedEvery(), end);
            threads[number] = new Thread(tallies[number]);
        }
        for (Thread thread : threads) {
            thread.start();
        }
        for (int number = 0; number < threads.length; ++number) {
            threads[number].join();
            if (tallies[number].failure != null) {
                throw tallies[number].failure;
            }
        }
        return tallies;
    }

    /** One caller, and what it did. */
    private static final class Tally implements Runnable {
        private final Once once;
        private final int timedEvery;
        private final long end;
        private long calls;
        private int timed;
        private long[] nanos = new long[1 << 10];
        private Exception failure;

        Tally(Once once, int timedEvery, long end) {
            this.once = once;
            this.timedEvery = timedEvery;
            this.end = end;
        }

        @Override
        public void run() {
            try {
                for (long start = System.nanoTime(); start - end < 0; start = System.nanoTime()) {
                    once.call();
                    record(System.nanoTime() - start);
                    for (int more = 1; more < timedEvery; ++more) {
                        once.call();
                    }
                    calls += timedEvery;
                }
            } catch (Exception e) {
                failure = e;
            }
        }

        private void record(long latency) {
            if (timed == nanos.length) {
                nanos = Arrays.copyOf(nanos, 2 * timed);
            }
            nanos[timed++] = latency;
        }
    }

    private static void waitForGo() throws IOException {
        if (!"go".equals(INPUT.readLine())) {
            throw new IOException("was not told to go");
        }
    }

    private static long perMille(long[] sorted, int part) {
        return sorted.length == 0 ? 0 : sorted[(int) ((sorted.length - 1L) * part / 1000)];
    }

    /** Bytes of memory that are resident. */
    private static long memory() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) << 10;
            }
        }
        throw new IOException("there is no VmRSS in /proc/self/status");
    }

    /** Bytes of the heap that are in use. */
    private static long heap() {
        System.gc();
        return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
    }
}
