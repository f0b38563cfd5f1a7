// Lives in its heap: a line from its input makes it use much of that.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;

class Heap {
  public static void main(String[] arguments) throws Exception {
    System.out.println("ready");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    while (in.readLine() != null) {
      List<byte[]> arrays = new ArrayList<>();
      for (int i = 0; i < 40; ++i) arrays.add(new byte[1 << 19]);
      System.gc();
      System.out.println("ok " + arrays.size());
    }
  }
}
