# The objects of the comparison, as Cap'n Proto describes them.
@0xd3b1c0a7e5f94862;

struct Entity {
  id @0 :UInt64;
  x @1 :Int32;
  y @2 :Int32;
  name @3 :Text;
}

# The least object: one number.
interface Cell {
  get @0 () -> (value :Int64);
}

interface Callback {
  next @0 (n :Int64) -> (n :Int64);
}

interface Bench {
  add @0 (a :Int64, b :Int64) -> (sum :Int64);
  echo @1 (data :Data) -> (data :Data);
  echoEntities @2 (entities :List(Entity)) -> (entities :List(Entity));
  make @3 (value :Int64) -> (cell :Cell);
  makeMany @4 (count :UInt32) -> (cells :List(Cell));
  callBack @5 (callback :Callback, n :Int64) -> (n :Int64);
}
