import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.rmi.Naming;
import java.rmi.RemoteException;
import java.rmi.registry.LocateRegistry;
import java.rmi.registry.Registry;
import java.rmi.server.RMISocketFactory;
import java.rmi.server.UnicastRemoteObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The comparison's program for Java RMI, on Java 17 or later.
 *
 * <pre>
 * javac -d OUT benches/java/*.java
 * java -cp OUT Bench serve --row=ROW
 * java -cp OUT Bench call --row=ROW --url=URL --warm-up=MS --measured=MS [--count=N]
 * </pre>
 *
 * Java RMI does not share a connection among callers: it opens as many as there are calls at a time,
 * and keeps them. Each caller is a thread, and the rows of many callers, on one connection or on a
 * hundred, are on as many connections as it likes.
 */
public final class Bench {
    private static final int ENTITIES = 1000;

    private Bench() {}

    /** Runs a server or a client. */
    public static void main(String[] args) {
        System.exit(run(args));
    }

    private static int run(String[] args) {
        try {
            Contract.Options options = Contract.parse(args);
            System.setProperty("java.rmi.server.hostname", "127.0.0.1"); // stubs name it
            Loopback loopback = new Loopback();
            RMISocketFactory.setSocketFactory(loopback);
            if (options.url() == null) {
                serve(loopback);
            } else {
                call(options);
            }
            return 0;
        } catch (Contract.UsageException e) {
            System.err.println(e.getMessage());
            System.err.println("usage: Bench serve --row=ROW");
            System.err.println("       Bench call --row=ROW --url=URL --warm-up=MS --measured=MS [--count=N]");
            return 2;
        } catch (Contract.UnsupportedException e) {
            Contract.say("unsupported", e.getMessage());
            return 3;
        } catch (Exception e) {
            e.printStackTrace();
            return 1;
        }
    }

    /** Listens on the loopback interface only; all objects share one port. */
    private static final class Loopback extends RMISocketFactory {
        private int port;

        @Override
        public ServerSocket createServerSocket(int wanted) throws IOException {
            ServerSocket socket = new ServerSocket(wanted, 512, InetAddress.getLoopbackAddress());
            port = socket.getLocalPort();
            return socket;
        }

        @Override
        public Socket createSocket(String host, int port) throws IOException {
            return new Socket(host, port);
        }
    }

    private static void serve(Loopback loopback) throws Exception {
        Registry registry = LocateRegistry.createRegistry(0);
        Target target = new TargetImpl(); // bound itself: a stub would not keep it from being collected
        UnicastRemoteObject.exportObject(target, 0);
        registry.bind("target", target);
        Contract.say("ready", "rmi://127.0.0.1:" + loopback.port + "/target");
        Contract.answerQuestions();
    }

    private static final class TargetImpl implements Target {
        @Override
        public long add(long a, long b) {
            return a + b;
        }

        @Override
        public byte[] echo(byte[] data) {
            return data;
        }

        @Override
        public Entity[] echoEntities(Entity[] entities) {
            return entities;
        }

        @Override
        public Target.Cell make(long value) throws RemoteException {
            Target.Cell cell = new CellImpl(value);
            UnicastRemoteObject.exportObject(cell, 0);
            return cell;
        }

        @Override
        public Target.Cell[] makeMany(int count) throws RemoteException {
            Target.Cell[] cells = new Target.Cell[count];
            for (int value = 0; value < count; ++value) {
                cells[value] = make(value);
            }
            return cells;
        }

        @Override
        public long callBack(Target.Callback client, long n) throws RemoteException {
            return client.next(n);
        }
    }

    private static final class CellImpl implements Target.Cell {
        private final long value;

        CellImpl(long value) {
            this.value = value;
        }

        @Override
        public long get() {
            return value;
        }
    }

    private static void call(Contract.Options options) throws Exception {
        Target target = (Target) Naming.lookup(options.url());
        switch (options.row().work()) {
            case ADD -> Contract.measure(options, () -> add(target));
            case ECHO_BYTES -> Contract.measure(options, () -> echoBytes(target, options.row().len()));
            case ECHO_ENTITIES -> Contract.measure(options, () -> echoEntities(target));
            case OBJECTS -> Contract.measure(options, () -> objects(target));
            case CALLBACKS -> {
                Target.Callback callback = n -> n + 1;
                UnicastRemoteObject.exportObject(callback, 0);
                Contract.measure(options, () -> callbacks(target, callback));
            }
            case HELD_OBJECTS -> Contract.hold(options, () -> makeMany(target, options.count()));
        }
    }

    private static Contract.Once add(Target target) {
        return new Contract.Once() {
            private long a;

            @Override
            public void call() throws RemoteException {
                Contract.check(target.add(a, 7) == a + 7);
                ++a;
            }
        };
    }

    private static Contract.Once echoBytes(Target target, int len) {
        byte[] body = new byte[len];
        for (int at = 0; at < len; ++at) {
            body[at] = (byte) (at * 7 + at / 251);
        }
        return () -> Contract.check(target.echo(body).length == len);
    }

    private static Contract.Once echoEntities(Target target) {
        Entity[] entities = new Entity[ENTITIES];
        Arrays.setAll(entities, at -> new Entity(at, at * 3, -at, "name" + (1000 + at)));
        return () -> {
            Entity[] back = target.echoEntities(entities);
            Contract.check(back.length == ENTITIES && back[ENTITIES - 1].name().length() == 8);
        };
    }

    /**
     * Makes an object, calls it and forgets it: the collectors of both sides, which work together, see
     * that it goes. To have it unexported by a call of its own is no faster: the collectors, which cost
     * the most here, are told of each reference all the same.
     */
    private static Contract.Once objects(Target target) {
        return new Contract.Once() {
            private long value;

            @Override
            public void call() throws RemoteException {
                Contract.check(target.make(++value).get() == value);
            }
        };
    }

    private static Contract.Once callbacks(Target target, Target.Callback callback) {
        return new Contract.Once() {
            private long n;

            @Override
            public void call() throws RemoteException {
                Contract.check(target.callBack(callback, n) == n + 1);
                ++n;
            }
        };
    }

    private static List<Target.Cell> makeMany(Target target, int count) throws RemoteException {
        List<Target.Cell> held = new ArrayList<>(count);
        while (held.size() < count) {
            held.addAll(Arrays.asList(target.makeMany(Math.min(1000, count - held.size()))));
        }
        return held;
    }
}
