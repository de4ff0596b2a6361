import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/**
 * Kafka Streams as its documentation has it: two windowed joins with RocksDB stores and changelogs, exactly_once_v2.
 *
 * <p>The value of a join is both payloads, one after the other, since a model would need them.
 */
public final class Peer {
    private static final AtomicBoolean STARTED = new AtomicBoolean();

    public static void main(String[] arguments) throws Exception {
        Map<String, String> environment = System.getenv();
        String prefix = environment.get("BENCH_PREFIX");
        Path state = Files.createTempDirectory(Path.of(environment.get("BENCH_STATE")), "streams");

        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, environment.get("BENCH_GROUP"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment.get("BENCH_SERVERS"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, environment.get("BENCH_THREADS"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        properties.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        properties.put(StreamsConfig.producerPrefix("compression.type"), "lz4");

        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, byte[]> speech = source(builder, prefix + "speech");
        KStream<String, byte[]> image = source(builder, prefix + "image");
        KStream<String, byte[]> sensor = source(builder, prefix + "sensor");
        JoinWindows windows = JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(2));
        StreamJoined<String, byte[], byte[]> stores =
            StreamJoined.with(Serdes.String(), Serdes.ByteArray(), Serdes.ByteArray());
        speech.join(image, Peer::both, windows, stores)
            .join(sensor, Peer::both, windows, stores)
            .mapValues(Peer::mean)
            .to(prefix + "predictions", Produced.with(Serdes.String(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        CountDownLatch stop = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            stop.countDown();
        }));
        streams.start();
        stop.await();
    }

    private static KStream<String, byte[]> source(StreamsBuilder builder, String topic) {
        return builder.stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .peek((key, value) -> sayFirst());
    }

    private static void sayFirst() {
        if (STARTED.compareAndSet(false, true)) {
            System.out.printf("{\"first\": %.3f}%n", System.currentTimeMillis() / 1e3);
        }
    }

    private static byte[] both(byte[] one, byte[] other) {
        return ByteBuffer.allocate(one.length + other.length).put(one).put(other).array();
    }

    private static byte[] mean(byte[] bytes) {
        long sum = 0;
        for (byte value : bytes) {
            sum += value & 0xFF;
        }
        return Long.toString(sum / bytes.length).getBytes(StandardCharsets.US_ASCII);
    }
}
