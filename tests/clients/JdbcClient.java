import java.io.FileReader;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Properties;

/**
 * The JDBC driver of Apache Arrow against the demo hub: every query of demo.json, parameters of each type, the walk
 * through the metadata that DBeaver does, cancelling, each way to log in.
 *
 * Run by run.sh as a single source file; reads the properties that it made of demo.json. Ends with 0 only if
 * everything was as it should be.
 */
public final class JdbcClient {
    private static final String RESEARCH = "scientific_research";
    private static final Properties DEMO = new Properties();
    private static int checks;

    public static void main(String[] arguments) throws Exception {
        try (FileReader file = new FileReader(arguments[0])) {
            DEMO.load(file);
        }
        queries();
        logins();
        parameters();
        metadata();
        cancelling();
        System.out.println("JDBC " + DriverManager.getDriver(url("")).getMajorVersion() + ": " + checks + " checks passed");
        // The driver's threads would keep the program.
        System.exit(0);
    }

    private static void queries() throws SQLException {
        for (String login : List.of(certificate("labo"), token("labo"))) {
            for (int at = 0; DEMO.containsKey("query." + at + ".sql"); at++) {
                String query = "query." + at;
                String sql = DEMO.getProperty(query + ".sql");
                String rows = DEMO.getProperty(query + ".rows");
                try (Connection connection = connect(login + purpose(DEMO.getProperty(query + ".purpose")))) {
                    if (rows != null) {
                        check(sql, count(connection, sql), Integer.valueOf(rows));
                    } else {
                        check(sql, refusal(() -> count(connection, sql)), DEMO.getProperty(query + ".reason"));
                    }
                }
            }
        }
    }

    private static void logins() throws SQLException {
        String communes = "SELECT count(*) AS n FROM observatoire.communes";
        // A token as the password of anybody.
        String password = "user=anybody&password=" + DEMO.getProperty("labo.bearer");
        try (Connection connection = connect(password + purpose(RESEARCH))) {
            check("password", count(connection, communes), 1);
        }
        // The catalog of the connection, or its only purpose.
        within("&catalog=" + RESEARCH, connection -> check("catalog", count(connection, communes), 1));
        try (Connection connection = connect(certificate("labo"))) {
            check("the only purpose", count(connection, communes), 1);
            check("a catalog in the query", count(connection, "SELECT nom FROM " + RESEARCH + ".observatoire.communes LIMIT 3"), 3);
        }
        within("&catalog=marketing", connection ->
            check("marketing", refusal(() -> count(connection, "SELECT count(*) FROM chu.stays")), "PURPOSE_NOT_PERMITTED"));
        check("no such catalog", refusal(() -> connect(certificate("labo") + "&catalog=nonsense").close()) != null, true);
        check("nonsense", refusal(() -> connect("token=nonsense").close()), "UNAUTHENTICATED");
        check("nobody", refusal(() -> count(connect("useSystemTrustStore=false"), communes)), "UNAUTHENTICATED");
    }

    private static void parameters() throws SQLException {
        try (Connection connection = connect(certificate("labo") + purpose(RESEARCH))) {
            String from = "SELECT count(*) AS n FROM observatoire.communes WHERE ";
            try (PreparedStatement statement = connection.prepareStatement(from + "population > ? AND code_departement = ?")) {
                for (int[] wanted : new int[][] {{100_000, 1}, {400_000, 1}, {1_000_000, 0}}) {
                    statement.setInt(1, wanted[0]);
                    statement.setString(2, "31");
                    check("population", number(statement), (long) wanted[1]);
                }
                statement.setLong(1, 1_000L);
                statement.setString(2, "31' OR '1' = '1");
                check("hostile text", number(statement), 0L);
                statement.setString(2, null);
                check("null", number(statement), 0L);
            }
            try (PreparedStatement statement = connection.prepareStatement(from + "CAST(population AS DOUBLE) > ?")) {
                statement.setDouble(1, 100_000.5);
                check("double", number(statement), 4L);
            }
            try (PreparedStatement statement = connection.prepareStatement(from + "(population > 100000) = ?")) {
                statement.setBoolean(1, true);
                check("boolean", number(statement), 4L);
            }
            try (PreparedStatement statement = connection.prepareStatement(from + "CAST(population AS DECIMAL(12, 2)) > ?")) {
                statement.setBigDecimal(1, new BigDecimal("100000.50"));
                check("decimal", number(statement), 4L);
            }
            try (PreparedStatement statement = connection.prepareStatement(from + "DATE '2024-02-29' = ?")) {
                statement.setDate(1, Date.valueOf("2024-02-29"));
                check("date", number(statement) > 1_000, true);
                statement.setDate(1, Date.valueOf("2024-03-01"));
                check("another date", number(statement), 0L);
            }
            try (PreparedStatement statement = connection.prepareStatement(from + "TIMESTAMP '2024-02-29T12:00:00' < ?")) {
                statement.setTimestamp(1, new Timestamp(1_709_300_000_000L));
                check("timestamp", number(statement) > 1_000, true);
                statement.setTimestamp(1, new Timestamp(0));
                check("an earlier timestamp", number(statement), 0L);
            }
            try (PreparedStatement statement = connection.prepareStatement("SELECT upper(?) AS t FROM observatoire.communes LIMIT 1")) {
                statement.setString(1, "l'été");
                try (ResultSet rows = statement.executeQuery()) {
                    check("a row", rows.next(), true);
                    check("text", rows.getString(1), "L'ÉTÉ");
                }
            }
        }
    }

    /** What DBeaver asks for when it opens a connection and unfolds its tree. */
    private static void metadata() throws SQLException {
        try (Connection connection = connect(certificate("labo"))) {
            DatabaseMetaData metadata = connection.getMetaData();
            check("product", metadata.getDatabaseProductName(), "Occitanie Data hub");
            check("read-only", metadata.isReadOnly(), true);
            check("transactions", metadata.supportsTransactions(), false);
            check("isolation", metadata.getDefaultTransactionIsolation(), Connection.TRANSACTION_NONE);
            check("quote", metadata.getIdentifierQuoteString(), "\"");
            check("terms", metadata.getCatalogTerm() + "." + metadata.getSchemaTerm(), "purpose.owner");
            check("functions", metadata.getStringFunctions().contains("starts_with"), true);
            check("numeric functions", metadata.getNumericFunctions().contains("round"), true);
            check("keywords", metadata.getSQLKeywords(), "");
            check("joins", metadata.supportsFullOuterJoins(), true);
            check("unions", metadata.supportsUnionAll(), true);
            check("subqueries", metadata.supportsSubqueriesInExists(), true);
            check("statement length", metadata.getMaxStatementLength(), 32 * 1024);
            check("tables in a query", metadata.getMaxTablesInSelect(), 16);
            check("forward only", metadata.supportsResultSetType(ResultSet.TYPE_FORWARD_ONLY), true);
            check("batches", metadata.supportsBatchUpdates(), false);
            check("catalogs", column(metadata.getCatalogs(), "TABLE_CAT"), List.of(RESEARCH));
            check("schemas", column(metadata.getSchemas(), "TABLE_SCHEM"), List.of("chu", "energie", "observatoire"));
            check("one schema", column(metadata.getSchemas(RESEARCH, "chu"), "TABLE_SCHEM"), List.of("chu"));
            check("table types", column(metadata.getTableTypes(), "TABLE_TYPE"), List.of("TABLE"));
            check("tables", column(metadata.getTables(null, null, "%", new String[] {"TABLE"}), "TABLE_NAME"), List.of("stays", "meters", "communes"));
            check("one owner's", column(metadata.getTables(RESEARCH, "energie", "%", null), "TABLE_NAME"), List.of("meters"));
            check("by pattern", column(metadata.getTables(RESEARCH, "%", "com%", null), "TABLE_NAME"), List.of("communes"));
            check("views", column(metadata.getTables(null, null, "%", new String[] {"VIEW"}), "TABLE_NAME"), List.of());
            check("a table that is not granted", column(metadata.getTables(null, "energie", "outages", null), "TABLE_NAME"), List.of());
            columns(metadata);
            // The driver answers this one by itself, with nothing.
            check("types", column(metadata.getTypeInfo(), "TYPE_NAME"), List.of());
            check("primary keys", column(metadata.getPrimaryKeys(RESEARCH, "chu", "stays"), "COLUMN_NAME"), List.of());
            check("imported keys", column(metadata.getImportedKeys(RESEARCH, "chu", "stays"), "FKCOLUMN_NAME"), List.of());
            check("exported keys", column(metadata.getExportedKeys(RESEARCH, "chu", "stays"), "FKCOLUMN_NAME"), List.of());
            check("indexes", column(metadata.getIndexInfo(RESEARCH, "chu", "stays", false, true), "INDEX_NAME"), List.of());
            check("procedures", column(metadata.getProcedures(null, null, "%"), "PROCEDURE_NAME"), List.of());
        }
    }

    private static void columns(DatabaseMetaData metadata) throws SQLException {
        List<String> names = column(metadata.getColumns(null, "chu", "stays", "%"), "COLUMN_NAME");
        check("a granted column", names.contains("diagnosis"), true);
        check("a column outside the grant", names.contains("age"), false);
        try (ResultSet rows = metadata.getColumns(RESEARCH, "observatoire", "communes", "population")) {
            check("the column", rows.next(), true);
            check("its type", rows.getInt("DATA_TYPE"), Types.BIGINT);
            check("its type's name", rows.getString("TYPE_NAME"), "BIGINT");
            check("its table", rows.getString("TABLE_CAT") + "." + rows.getString("TABLE_SCHEM") + "." + rows.getString("TABLE_NAME"), RESEARCH + ".observatoire.communes");
            check("it may be missing", rows.getInt("NULLABLE"), DatabaseMetaData.columnNullable);
            check("nothing else", rows.next(), false);
        }
    }

    private static void cancelling() throws SQLException {
        String pairs = "SELECT a.nom, b.nom AS other FROM observatoire.communes a JOIN observatoire.communes b ON a.departement = b.departement";
        try (Connection connection = connect(certificate("labo") + purpose(RESEARCH))) {
            for (int round = 0; round < 12; round++) {
                try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(pairs)) {
                    check("a row", rows.next(), true);
                    if (round % 2 == 0) {
                        statement.cancel();
                    }
                }
            }
            check("after cancelling", count(connection, "SELECT count(*) AS n FROM observatoire.communes"), 1);
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT nom, population FROM observatoire.communes WHERE population < 0")) {
                ResultSetMetaData columns = rows.getMetaData();
                check("columns of no rows", columns.getColumnName(1) + " " + columns.getColumnName(2), "nom population");
                check("no rows", rows.next(), false);
            }
        }
    }

    // --- helpers ---------------------------------------------------------------------------------------------------

    private interface Work {
        void run() throws SQLException;
    }

    private static String url(String options) {
        String address = DEMO.getProperty("grpc").replace("https://", "");
        return "jdbc:arrow-flight-sql://" + address + "/?tlsRootCerts=" + DEMO.getProperty("ca") + "&" + options;
    }

    private static Connection connect(String options) throws SQLException {
        return DriverManager.getConnection(url(options));
    }

    private static String certificate(String persona) {
        return "clientCertificate=" + DEMO.getProperty(persona + ".cert") + "&clientKey=" + DEMO.getProperty(persona + ".key");
    }

    private static String token(String persona) {
        return "token=" + DEMO.getProperty(persona + ".bearer");
    }

    private static String purpose(String purpose) {
        return "&x-odh-purpose=" + purpose;
    }

    private interface Use {
        void of(Connection connection) throws SQLException;
    }

    /** With `catalog`, version 18.3.0 of the driver closes its channel and then, a second time, its session. */
    private static void within(String catalog, Use use) throws SQLException {
        Connection connection = connect(certificate("labo") + catalog);
        use.of(connection);
        try {
            connection.close();
        } catch (SQLException error) {
            check("closing", error.getMessage(), "Channel shutdown invoked");
        }
    }

    private static int count(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            int count = 0;
            while (rows.next()) {
                rows.getObject(1);
                count++;
            }
            return count;
        }
    }

    private static long number(PreparedStatement statement) throws SQLException {
        try (ResultSet rows = statement.executeQuery()) {
            check("a row", rows.next(), true);
            return rows.getLong(1);
        }
    }

    private static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                values.add(rows.getString(name));
            }
        }
        return values;
    }

    /** The reason of a refusal: the driver shows its text, from which it is told here. */
    private static String refusal(Work work) {
        try {
            work.run();
        } catch (SQLException error) {
            StringBuilder said = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                said.append(cause.getMessage()).append('\n');
            }
            String[][] texts = {
                {"is not covered by your grants", "PURPOSE_NOT_PERMITTED"},
                {"no active grant covers", "GRANT_REQUIRED"},
                {"the query was rejected", "QUERY_REJECTED"},
                {"a valid identity is required", "UNAUTHENTICATED"},
            };
            for (String[] text : texts) {
                if (said.indexOf(text[0]) >= 0) {
                    return text[1];
                }
            }
            return said.toString();
        }
        throw new AssertionError("the hub did not refuse this");
    }

    private static void check(String what, Object found, Object wanted) {
        checks++;
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError(what + ": " + found + " instead of " + wanted);
        }
    }
}
