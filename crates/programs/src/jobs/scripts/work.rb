# Objects, hashes, strings, symbols, the collector, threads, fibers and fork.
rounds = Integer(ARGV[0])

def work(seed)
  state = seed
  nextn = -> { state = (state * 1_103_515_245 + 12_345) % 2_147_483_648; state >> 8 }
  words = Array.new(40_000) { "w#{nextn.call % 9000}-#{'z' * (nextn.call % 60)}" }
  groups = words.group_by(&:size).transform_values { |list| list.map(&:upcase).sort.uniq }
  counts = words.tally
  top = counts.sort_by { |word, count| [-count, word] }.first(20)
  text = words.join(' ').gsub(/w(\d)(\d*)-z+/) { "<#{$2}:#{$1}>" }
  tree = Hash.new { |hash, key| hash[key] = {} }
  words.each_with_index { |word, index| tree[word[0, 3]][word] = index }
  GC.start if seed.odd?
  grown = +''
  20_000.times { |index| grown << 'abcdefghij' * (index % 5) }
  big = (1..600).reduce(:*)
  [seed, groups.keys.sort.sum, groups.values.sum(&:size), top.first.join('='), text.sum, text.size,
   tree.size, grown.size, big.to_s.size, Marshal.load(Marshal.dump(top)) == top].join(',')
end

1.upto(rounds) { |seed| puts work(seed) }
puts(4.times.map { |index| Thread.new { work(100 + index) } }.map(&:value))
fiber = Fiber.new { 200.times { |index| Fiber.yield 'f' * index }; 'end' }
puts 201.times.sum { fiber.resume.size }
reader, writer = IO.pipe
child = fork { reader.close; writer.puts work(7); writer.close; exit! 3 }
writer.close
puts reader.read
Process.wait(child)
puts $?.exitstatus
GC.compact if GC.respond_to?(:compact)
puts work(8)
