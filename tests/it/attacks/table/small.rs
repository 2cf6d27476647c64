//! Attacks on groups below k: Rodez and Millau have nobody, one or four people, and no query that asks about them
//! alone may tell which.

use super::{Case, no, ok};

/// What would show, count, order or trip over a group that is too small.
pub(super) const BELOW_K: &[Case] = &[
    ok(18, "SELECT count(*) FROM chu.small WHERE commune = 'Rodez'"),
    ok(18, "SELECT count(*) FROM chu.small WHERE commune = 'Millau'"),
    ok(18, "SELECT count(*), sum(cost), avg(price) FROM chu.small WHERE commune IN ('Rodez', 'Millau')"),
    ok(18, "SELECT count(*) FROM chu.small WHERE age = 93"),
    ok(18, "SELECT count(*) FROM chu.small WHERE diagnosis = 'HIV' OR diagnosis = '1/0'"),
    ok(18, "SELECT commune, count(*), sum(cost), avg(cost), sum(price) FROM chu.small GROUP BY commune"),
    ok(18, "SELECT commune, count(*), sum(cost), avg(cost), sum(price) FROM chu.small GROUP BY commune ORDER BY 1"),
    ok(18, "SELECT commune FROM chu.small GROUP BY commune"),
    ok(18, "SELECT commune, diagnosis, age, count(*) FROM chu.small WHERE commune = 'Rodez' GROUP BY 1, 2, 3"),
    ok(18, "SELECT commune, count(DISTINCT pid), count(DISTINCT diagnosis) FROM chu.small GROUP BY commune ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING count(*) = 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING 1 / (count(*) - 1) >= 0 ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING 1 / (count(*) - 4) >= 0 ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING 1 / (sum(cost) - 4242) >= 0 ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING sum(cost) + 9223372036854775807 > 0 ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING CAST(commune AS INT) IS NULL ORDER BY 1"),
    ok(19, "SELECT commune FROM chu.small GROUP BY commune HAVING avg(price) / (count(*) - 1) > 0 ORDER BY 1"),
    ok(19, "SELECT count(*) FROM chu.small WHERE commune > 'M' AND commune < 'S' HAVING count(*) < 5"),
    ok(19, "SELECT 'empty' FROM chu.small WHERE commune = 'Rodez' HAVING count(*) IS NOT NULL"),
    ok(19, "SELECT COALESCE(sum(cost), 0) FROM chu.small WHERE commune = 'Rodez'"),
    ok(19, "SELECT count(*) + 1 FROM chu.small WHERE commune = 'Rodez'"),
    ok(19, "SELECT 1 / count(*) FROM chu.small WHERE commune = 'Rodez'"),
    ok(
        20,
        "SELECT commune, n FROM (SELECT commune, count(*) n FROM chu.small GROUP BY commune) t WHERE 1 / (n - 1) = 0 ORDER BY 1",
    ),
    ok(20, "SELECT CAST(CAST(sum(cost) AS VARCHAR) AS INT) FROM chu.small GROUP BY commune ORDER BY commune"),
    no(
        20,
        "aggregate_only",
        "WITH t AS (SELECT commune, count(*) n FROM chu.small GROUP BY commune) SELECT count(*), sum(n), max(n), min(n) FROM t",
    ),
    ok(
        20,
        "WITH t AS (SELECT commune, count(*) n FROM chu.small GROUP BY commune) SELECT a.commune, b.n FROM t a JOIN t b ON a.n = b.n ORDER BY 1, 2",
    ),
    ok(
        20,
        "WITH t AS (SELECT commune, count(*) n FROM chu.small GROUP BY commune) SELECT c.code, t.n FROM chu.communes c LEFT JOIN t ON t.commune = c.code ORDER BY 1",
    ),
    ok(
        20,
        "WITH t AS (SELECT commune, count(*) n FROM chu.small GROUP BY commune) SELECT c.code FROM chu.communes c FULL JOIN t ON t.commune = c.code WHERE t.n IS NULL ORDER BY 1",
    ),
    no(
        20,
        "aggregate_only",
        "WITH t AS (SELECT commune, count(*) n FROM chu.small GROUP BY commune) SELECT code FROM chu.communes WHERE code NOT IN (SELECT commune FROM t)",
    ),
    ok(
        20,
        "SELECT code FROM chu.communes EXCEPT SELECT commune FROM (SELECT commune, count(*) FROM chu.small GROUP BY 1) t ORDER BY 1",
    ),
    ok(20, "SELECT commune FROM chu.small GROUP BY commune ORDER BY count(*), commune"),
    ok(20, "SELECT commune FROM chu.small GROUP BY commune ORDER BY 1 / (count(*) - 1), commune LIMIT 2"),
    ok(20, "SELECT commune FROM chu.small GROUP BY commune ORDER BY sum(cost) DESC, commune LIMIT 1"),
    ok(20, "SELECT commune FROM chu.small GROUP BY commune ORDER BY commune LIMIT 2 OFFSET 3"),
    ok(20, "SELECT commune, count(*) FROM chu.small GROUP BY commune LIMIT 10"),
    ok(20, "SELECT commune, count(*) FROM chu.small GROUP BY commune LIMIT 4 OFFSET 1"),
    ok(20, "SELECT DISTINCT n > 5 FROM (SELECT commune, count(*) n FROM chu.small GROUP BY commune) t"),
    ok(
        20,
        "SELECT commune, count(*) FROM chu.small GROUP BY commune UNION ALL SELECT diagnosis, count(*) FROM chu.small WHERE commune = 'Rodez' GROUP BY diagnosis ORDER BY 1",
    ),
    ok(
        20,
        "SELECT count(*) FROM chu.small WHERE commune = 'Rodez' UNION SELECT count(*) FROM chu.small WHERE commune = 'Millau'",
    ),
    ok(20, "SELECT count(*) FROM chu.small WHERE commune = 'Rodez' AND CAST(note AS INT) > 0"),
    ok(20, "SELECT count(*) FROM chu.small WHERE commune = 'Millau' AND CAST(note AS INT) IS NULL"),
    ok(
        25,
        "SELECT c.department, count(*) FROM chu.small s JOIN chu.communes c ON c.code = s.commune GROUP BY 1 ORDER BY 1",
    ),
    ok(
        25,
        "SELECT c.department, count(*) FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune WHERE c.code = 'Rodez' GROUP BY 1",
    ),
    ok(
        25,
        "SELECT c.department, count(s.commune) FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune GROUP BY 1 ORDER BY 1",
    ),
    ok(
        25,
        "SELECT c.department FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune WHERE s.age IS NULL GROUP BY 1",
    ),
    ok(
        25,
        "SELECT o.tag, count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid WHERE o.tag = 'target' GROUP BY 1",
    ),
    no(
        25,
        "join",
        "SELECT count(*) FROM chu.small a JOIN chu.small b ON a.commune = b.commune WHERE a.commune = 'Rodez'",
    ),
    no(25, "join", "SELECT count(*) FROM chu.small, chu.communes"),
    no(25, "join", "SELECT count(*) FROM chu.small CROSS JOIN lab.many"),
    no(25, "join", "SELECT count(*) FROM chu.small s JOIN lab.many o ON true"),
    no(25, "join", "SELECT count(*) FROM chu.small s, lab.many o WHERE s.commune = o.place"),
];
