# Maps a file; obeys `load PAGE`, `store PAGE BYTE`, `sync`; answers `ok` or what it caught.
page = 4096
memory = IO::Buffer.map(File.open(ARGV[0], "r+"))
$stdout.sync = true
puts "ready"
while (line = $stdin.gets)
  word, at, value = line.split
  begin
    case word
    when "load" then puts "ok #{memory.get_value(:U8, at.to_i * page)}"
    when "store"
      memory.set_value(:U8, at.to_i * page, value.to_i)
      puts "ok"
    else
      File.open(ARGV[0], "r+", &:fsync)
      puts "ok"
    end
  rescue SystemCallError => error
    puts "caught #{error.class}"
  end
end
