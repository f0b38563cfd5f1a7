// Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught, where.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

class Mapper {
  static final int PAGE = 4096;
  static MappedByteBuffer memory;

  static String load(int page) {
    byte value;
    try {
      value = memory.get(page * PAGE);
    } catch (InternalError error) {
      return "caught InternalError around the access";
    }
    return "ok " + value;
  }

  static String obey(String[] words) {
    if (words[0].equals("load")) return load(Integer.parseInt(words[1]));
    if (words[0].equals("sync")) {
      memory.force();
    } else {
      memory.put(Integer.parseInt(words[1]) * PAGE, Byte.parseByte(words[2]));
    }
    return "ok";
  }

  public static void main(String[] arguments) throws Exception {
    FileChannel channel = FileChannel.open(
        Path.of(arguments[0]), StandardOpenOption.READ, StandardOpenOption.WRITE);
    memory = channel.map(FileChannel.MapMode.READ_WRITE, 0, channel.size());
    System.out.println("ready");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String answer;
      try {
        answer = obey(line.split(" "));
      } catch (InternalError error) {
        answer = "caught InternalError, but not by the try block around the access";
      } catch (Exception error) {
        Throwable cause = error.getCause();
        answer = "caught " + error.getClass().getSimpleName() + ": " + cause.getMessage();
      }
      System.out.println(answer);
    }
  }
}
