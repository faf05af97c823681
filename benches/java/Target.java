import java.rmi.Remote;
import java.rmi.RemoteException;

/** The object that is called. */
interface Target extends Remote {
    long add(long a, long b) throws RemoteException;

    byte[] echo(byte[] data) throws RemoteException;

    Entity[] echoEntities(Entity[] entities) throws RemoteException;

    Cell make(long value) throws RemoteException;

    Cell[] makeMany(int count) throws RemoteException;

    long callBack(Callback client, long n) throws RemoteException;

    /** The least object: one number. */
    interface Cell extends Remote {
        long get() throws RemoteException;
    }

    /** An object of the client. */
    interface Callback extends Remote {
        long next(long n) throws RemoteException;
    }
}
