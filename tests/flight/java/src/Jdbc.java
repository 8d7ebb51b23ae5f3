import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** The Flight SQL JDBC driver against a server with the suite's topic. */
public final class Jdbc {
  private static final long ROWS = Long.parseLong(System.getenv("FLIGHT_ROWS"));
  private static final String URL = "jdbc:arrow-flight-sql://" + System.getenv("FLIGHT_ADDRESS") + "/?useEncryption=false";

  private interface Check {
    String run() throws Exception;
  }

  private static String version = "?";

  public static void main(String[] args) throws Exception {
    try (Connection c = connect()) {
      version = c.getMetaData().getDriverVersion();
    }
    check("every row and type", Jdbc::whole);
    check("values of every type", Jdbc::types);
    check("parameters", Jdbc::parameters);
    check("catalog", Jdbc::catalog);
    check("metadata", Jdbc::metadata);
    check("cancel", Jdbc::cancel);
    check("errors", () -> refused("nothing", "SELECT nothing FROM orders"));
    check("unknown table", () -> refused("nowhere", "SELECT * FROM nowhere"));
    check("updates are refused", () -> refused("only SELECT", "DELETE FROM orders"));
    check("qualified names", Jdbc::qualified);
    check("log in", Jdbc::logIn);
    check("freshness by header", Jdbc::freshness);
    System.exit(0); // whatever threads the driver left
  }

  private static void check(String name, Check check) {
    String detail;
    boolean ok = false;
    try {
      detail = check.run();
      ok = true;
    } catch (Throwable e) {
      detail = e.toString();
    }
    System.out.printf("{\"client\": \"jdbc\", \"version\": \"%s\", \"check\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", version, name, ok,
        detail.replaceAll("[\"\\\\\\p{Cntrl}]", " "));
  }

  private static Connection connect() throws SQLException {
    return DriverManager.getConnection(URL, new Properties());
  }

  private static void same(Object got, Object want) {
    if (!got.equals(want)) {
      throw new AssertionError(got + ", not " + want);
    }
  }

  private static String whole() throws SQLException {
    try (Connection c = connect(); Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT * FROM orders")) {
      long rows = 0;
      long sum = 0;
      while (r.next()) {
        rows++;
        sum += r.getLong("id");
        if (rows == 1) {
          same(r.getTimestamp("made").toInstant().toString(), "2026-01-02T03:04:05Z");
          same(r.getObject("ok") instanceof Boolean, true);
          same(r.getBytes("_value")[0], (byte) '{');
        }
      }
      same(rows, ROWS);
      same(sum, ROWS * (ROWS - 1) / 2);
      same(r.getMetaData().getColumnType(r.findColumn("amount")), Types.DOUBLE);
      return rows + " rows, " + r.getMetaData().getColumnCount() + " columns";
    }
  }

  /** Asks for a value of each type, and for none of each. */
  private static String types() throws Exception {
    List<String[]> lines = Files.readAllLines(Path.of("../types.tsv"), StandardCharsets.UTF_8).stream().map(line -> line.split("\t")).toList();
    String values = String.join(", ", lines.stream().map(line -> line[0]).toList());
    String nulls = String.join(", ", lines.stream().map(line -> "NULL").toList());
    List<String> wrong = new ArrayList<>();
    try (Connection c = connect(); Statement s = c.createStatement();
        ResultSet r = s.executeQuery("SELECT * FROM (SELECT " + values + ") UNION ALL SELECT " + nulls)) {
      same(r.next(), true);
      for (int i = 0; i < lines.size(); i++) {
        String got = r.getMetaData().getColumnTypeName(i + 1) + "=" + shown(r, i + 1);
        if (!got.equals(lines.get(i)[3])) {
          wrong.add(lines.get(i)[0] + ": " + got + ", not " + lines.get(i)[3]);
        }
      }
      same(r.next(), true);
      for (int i = 0; i < lines.size(); i++) {
        if (r.getString(i + 1) != null || !r.wasNull()) {
          wrong.add("the null of " + lines.get(i)[0]);
        }
      }
      same(r.next(), false);
    }
    same(wrong, List.of());
    return lines.size() + " types";
  }

  /** What getObject answers, or getTimestamp where the driver has none. */
  private static String shown(ResultSet r, int column) throws SQLException {
    if (r.getMetaData().getColumnType(column) == Types.TIMESTAMP_WITH_TIMEZONE) {
      return r.getTimestamp(column).toInstant().toString();
    }
    Object value = r.getObject(column);
    return value instanceof byte[] bytes ? java.util.HexFormat.of().formatHex(bytes) : value.toString();
  }

  private static String parameters() throws SQLException {
    String query = "SELECT count(*) FROM orders WHERE id >= ? AND city = ? AND made <= ? AND ok = ? AND amount >= ?";
    try (Connection c = connect(); PreparedStatement s = c.prepareStatement(query)) {
      same(s.getParameterMetaData().getParameterCount(), 5);
      for (long from = 0; from < 12; from += 6) {
        s.setLong(1, from);
        s.setString(2, "Oslo");
        s.setTimestamp(3, Timestamp.valueOf("2026-02-01 00:00:00"));
        s.setBoolean(4, true);
        s.setDouble(5, 0);
        try (ResultSet r = s.executeQuery()) {
          same(r.next(), true);
          same(r.getLong(1), (ROWS - from + 5) / 6);
        }
      }
      return "bigint, varchar, timestamp, boolean, double";
    }
  }

  private static String catalog() throws SQLException {
    try (Connection c = connect()) {
      DatabaseMetaData m = c.getMetaData();
      same(column(m.getCatalogs(), 1), List.of("chronik"));
      same(column(m.getSchemas(), 1), List.of("topics"));
      same(column(m.getTableTypes(), 1), List.of("TABLE"));
      same(column(m.getTables(null, null, "ord%", new String[] {"TABLE"}), 3).contains("orders"), true);
      same(column(m.getTables(null, null, "%", new String[] {"VIEW"}), 3), List.of());
      List<String> names = column(m.getColumns("chronik", "topics", "orders", "%"), 4);
      same(names.containsAll(List.of("_offset", "city", "amount", "made")), true);
      same(column(m.getPrimaryKeys(null, null, "orders"), 1), List.of());
      same(column(m.getImportedKeys(null, null, "orders"), 1), List.of());
      same(column(m.getExportedKeys(null, null, "orders"), 1), List.of());
      same(column(m.getCrossReference(null, null, "orders", null, null, "orders"), 1), List.of());
      return names.size() + " columns";
    }
  }

  private static List<String> column(ResultSet r, int index) throws SQLException {
    List<String> values = new ArrayList<>();
    try (r) {
      while (r.next()) {
        values.add(r.getString(index));
      }
    }
    return values;
  }

  /** Calls everything without arguments that JDBC's metadata have: tools do. */
  private static String metadata() throws Exception {
    int calls = 0;
    List<String> failed = new ArrayList<>();
    try (Connection c = connect()) {
      DatabaseMetaData m = c.getMetaData();
      same(m.getDatabaseProductName(), "Chronik");
      same(m.isReadOnly(), true);
      same(m.supportsTransactions(), false);
      same(m.getIdentifierQuoteString(), "\"");
      for (Method method : DatabaseMetaData.class.getMethods()) {
        if (method.getParameterCount() > 0) {
          continue;
        }
        calls++;
        try {
          if (method.invoke(m) instanceof ResultSet answer) {
            answer.close();
          }
        } catch (InvocationTargetException e) {
          // What the driver itself does not have is not the server's.
          if (!(e.getCause() instanceof java.sql.SQLFeatureNotSupportedException) && !(e.getCause() instanceof UnsupportedOperationException)) {
            failed.add(method.getName() + ": " + e.getCause());
          }
        }
      }
    }
    same(failed, List.of());
    return calls + " calls";
  }

  private static String cancel() throws Exception {
    try (Connection c = connect(); Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT * FROM range(1000000000000)")) {
      for (int i = 0; i < 100_000; i++) {
        same(r.next(), true);
      }
      s.cancel();
      try {
        while (r.next()) {
          // what had come before
        }
      } catch (SQLException | RuntimeException e) {
        return e.getClass().getSimpleName();
      }
    }
    return "the end";
  }

  private static String refused(String text, String query) throws SQLException {
    try (Connection c = connect(); Statement s = c.createStatement()) {
      s.executeQuery(query).close();
    } catch (SQLException e) {
      same(e.getMessage().contains(text) || String.valueOf(e.getCause()).contains(text), true);
      return e.getClass().getSimpleName();
    }
    throw new AssertionError("it was not refused");
  }

  private static String qualified() throws SQLException {
    try (Connection c = connect(); Statement s = c.createStatement();
        ResultSet r = s.executeQuery("SELECT o.\"id\" FROM \"chronik\".\"topics\".\"orders\" o WHERE o.\"id\" = 7")) {
      same(r.next(), true);
      same(r.getLong(1), 7L);
      return "";
    }
  }

  private static String logIn() throws SQLException {
    try (Connection c = DriverManager.getConnection(URL, "ann", "x"); Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT 1")) {
      same(r.next(), true);
      return "";
    }
  }

  private static String freshness() throws SQLException {
    try (Connection c = DriverManager.getConnection(URL + "&x-chronik-freshness=stale"); Statement s = c.createStatement()) {
      s.executeQuery("SELECT 1").close();
    } catch (SQLException e) {
      same(e.getMessage().contains("freshness"), true);
      return "";
    }
    throw new AssertionError("the header did not arrive");
  }
}
