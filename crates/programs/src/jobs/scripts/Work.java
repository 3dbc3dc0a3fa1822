import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Work for the virtual machine itself: compilation, collection, threads, direct buffers, zlib. */
public class Work {
    static String work(int seed) throws Exception {
        long state = seed;
        Map<String, Integer> count = new TreeMap<>();
        StringBuilder text = new StringBuilder();
        for (int index = 0; index < 60_000; index++) {
            state = (state * 6364136223846793005L + 1442695040888963407L);
            String word = "w" + (state >>> 40) % 9000;
            count.merge(word, 1, Integer::sum);
            text.append(word).append(' ');
        }
        String top = count.entrySet().stream()
            .sorted(Map.Entry.<String, Integer>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
            .limit(5).map(Object::toString).collect(Collectors.joining(";"));
        byte[] bytes = text.toString().getBytes("UTF-8");
        CRC32 sum = new CRC32();
        for (int round = 0; round < 8; round++) {
            Deflater deflater = new Deflater(1 + round);
            deflater.setInput(bytes);
            deflater.finish();
            byte[] packed = new byte[bytes.length + 1000];
            int length = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, length);
            byte[] again = new byte[bytes.length];
            inflater.inflate(again);
            inflater.end();
            sum.update(again);
        }
        List<ByteBuffer> buffers = new ArrayList<>();
        for (int index = 0; index < 400; index++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 + (index * 977) % 60_000);
            while (buffer.hasRemaining()) buffer.put((byte) index);
            buffer.flip();
            sum.update(buffer);
            if (index % 3 == 0) buffers.add(buffer);
        }
        return seed + "," + count.size() + "," + top + "," + sum.getValue() + "," + buffers.size();
    }

    public static void main(String[] args) throws Exception {
        int rounds = Integer.parseInt(args[0]);
        ExecutorService pool = Executors.newFixedThreadPool(6);
        List<Future<String>> results = new ArrayList<>();
        for (int seed = 1; seed <= rounds; seed++) {
            final int number = seed;
            results.add(pool.submit(() -> work(number)));
        }
        for (Future<String> result : results) System.out.println(result.get());
        pool.shutdown();
        List<Thread> threads = new ArrayList<>();
        int[] sums = new int[200];
        for (int index = 0; index < sums.length; index++) {
            final int number = index;
            Thread thread = new Thread(() -> sums[number] = IntStream.range(0, 1000).map(x -> x % (number + 1)).sum());
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println(IntStream.of(sums).sum());
        System.gc();
        System.out.println(IntStream.range(0, 2_000_000).parallel().filter(x -> x % 7 == 3).count());
    }
}
