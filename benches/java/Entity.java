import java.io.Externalizable;
import java.io.IOException;
import java.io.ObjectInput;
import java.io.ObjectOutput;

/** A small struct. It writes its fields itself, which is faster than to have them found by reflection. */
public final class Entity implements Externalizable {
    private static final long serialVersionUID = 1;

    private long id;
    private int x;
    private int y;
    private String name;

    /** To be read into. */
    public Entity() {}

    Entity(long id, int x, int y, String name) {
        this.id = id;
        this.x = x;
        this.y = y;
        this.name = name;
    }

    String name() {
        return name;
    }

    @Override
    public void writeExternal(ObjectOutput out) throws IOException {
        out.writeLong(id);
        out.writeInt(x);
        out.writeInt(y);
        out.writeUTF(name);
    }

    @Override
    public void readExternal(ObjectInput in) throws IOException {
        id = in.readLong();
        x = in.readInt();
        y = in.readInt();
        name = in.readUTF();
    }
}
