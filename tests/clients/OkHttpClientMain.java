import java.net.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.CompletableFuture;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/**
 * OkHttp, the client of most Android applications, as a test client, run from its source:
 * {@code java -cp /usr/share/java/okhttp.jar:/usr/share/java/okio.jar OkHttpClientMain.java ws://…}
 *
 * <p>Speaks with the test that started it as driver.mjs tells: {@code ready {…}}, then stdin, then {@code closed <code>}.
 */
public final class OkHttpClientMain extends WebSocketListener {
    private static final long TIME_LIMIT_MS = 60_000;
    // Those of messages.mjs; in escapes, because before Java 18 the locale decides how a source file is read.
    private static final List<Object> MESSAGES = List.of(
            "hello", "Zo\u00eb \u2603 \ud83d\ude42", ByteString.of(new byte[1000]), "", "x".repeat(60_000), "last!");

    private final CompletableFuture<Response> opened = new CompletableFuture<>();
    private final CompletableFuture<Integer> closed = new CompletableFuture<>();

    public static void main(String[] args) {
        new Timer(true).schedule(new TimerTask() {
            @Override public void run() {
                fail("not done after " + TIME_LIMIT_MS + " ms");
            }
        }, TIME_LIMIT_MS);
        try {
            new OkHttpClientMain().run(args[0]);
            System.exit(0); // OkHttp's threads would keep the process for a minute more
        } catch (Exception e) {
            fail(e.toString());
        }
    }

    private void run(String url) throws Exception {
        // No proxy: the machine's settings must not come between a test and its server.
        OkHttpClient client = new OkHttpClient.Builder().proxy(Proxy.NO_PROXY).build();
        WebSocket socket = client.newWebSocket(new Request.Builder().url(url).build(), this);
        String userAgent = opened.get().networkResponse().request().header("User-Agent");

        StringBuilder sent = new StringBuilder();
        for (Object message : MESSAGES) {
            int length;
            if (message instanceof ByteString) {
                socket.send((ByteString) message);
                length = ((ByteString) message).size();
            } else {
                socket.send((String) message);
                length = ((String) message).getBytes(StandardCharsets.UTF_8).length;
            }
            sent.append(sent.length() == 0 ? "" : ",").append(length);
        }
        // OkHttp has no call for a ping. An empty queue says that all is in the socket's hands, no more.
        while (socket.queueSize() > 0) Thread.sleep(1);
        System.out.println("ready {\"userAgent\":" + quoted(userAgent) + ",\"sent\":[" + sent + "]}");
        System.out.flush();

        Thread wait = new Thread(() -> letGo(socket));
        wait.setDaemon(true);
        wait.start();
        System.out.println("closed " + closed.get());
        System.out.flush();
    }

    /** Waits for a line on stdin, or its end, and closes the socket; which does nothing if the server closed first. */
    private static void letGo(WebSocket socket) {
        try {
            System.in.read();
        } catch (java.io.IOException e) {
            // An unreadable stdin is an ended one.
        }
        socket.close(1000, null);
    }

    @Override public void onOpen(WebSocket socket, Response response) {
        opened.complete(response);
    }

    @Override public void onClosing(WebSocket socket, int code, String reason) {
        socket.close(1000, null); // answers a close that the server began
    }

    @Override public void onClosed(WebSocket socket, int code, String reason) {
        closed.complete(code);
    }

    @Override public void onFailure(WebSocket socket, Throwable error, Response response) {
        fail(error + (response == null ? "" : ": " + response));
    }

    private static String quoted(String text) {
        return text == null ? "null" : '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static void fail(String message) {
        System.err.println(message);
        Runtime.getRuntime().halt(1);
    }
}
