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
    ok(18, "SELECT commune, count(DISTINCT pid), count(diagnosis) FROM chu.small GROUP BY commune ORDER BY 1"),
    // How many values there are tells of the one that only one person has.
    no(18, "aggregate_only", "SELECT count(DISTINCT commune) FROM chu.small"),
    no(18, "aggregate_only", "SELECT count(DISTINCT diagnosis) FROM chu.small WHERE diagnosis IN ('J45', 'HIV')"),
    no(18, "aggregate_only", "SELECT count(DISTINCT cost) FROM chu.small"),
    no(18, "aggregate_only", "SELECT age, count(*) FROM chu.small GROUP BY age HAVING count(DISTINCT commune) > 1"),
    no(18, "aggregate_only", "SELECT age FROM chu.small GROUP BY age ORDER BY count(DISTINCT commune), age"),
    no(18, "aggregate_only", "SELECT count(DISTINCT x) FROM (SELECT commune AS x FROM chu.small) t"),
    no(
        18,
        "aggregate_only",
        "SELECT count(DISTINCT c.code) FROM chu.small s JOIN chu.communes c ON c.code = s.commune",
    ),
    no(18, "aggregate_only", "SELECT sum(DISTINCT cost), count(DISTINCT pid) FROM chu.small"),
    ok(18, "SELECT age, count(*) FROM chu.small GROUP BY age HAVING count(DISTINCT pid) > 1 ORDER BY 1"),
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
    // A LEFT JOIN onto such data would count one's own rows that met nobody.
    no(
        25,
        "join",
        "SELECT c.department, count(*) FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune WHERE c.code = 'Rodez' GROUP BY 1",
    ),
    no(
        25,
        "join",
        "SELECT c.department, count(s.commune) FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune GROUP BY 1 ORDER BY 1",
    ),
    no(
        25,
        "join",
        "SELECT c.department FROM chu.communes c LEFT JOIN chu.small s ON c.code = s.commune WHERE s.age IS NULL GROUP BY 1",
    ),
    no(
        25,
        "join",
        "SELECT count(*), count(s.commune) FROM lab.once o LEFT JOIN (SELECT pid, commune FROM chu.small WHERE age > 20) s ON o.pid = s.pid WHERE o.tag <> 'target' OR s.commune IS NULL",
    ),
    no(25, "join", "SELECT count(*) FROM lab.once o LEFT JOIN (SELECT pid FROM chu.small) s ON o.pid = s.pid"),
    no(
        25,
        "join",
        "SELECT count(*), count(r.kwh) FROM chu.small s LEFT JOIN grid.readings r ON r.pid = s.pid WHERE r.kwh IS NULL OR s.age < 40",
    ),
    ok(25, "SELECT count(*), sum(s.cost) FROM chu.small s LEFT JOIN lab.once o ON o.pid = s.pid WHERE o.tag = 'other'"),
    // The order of groups is that of their values, not that of the people in the file.
    ok(12, "SELECT age, count(*) FROM chu.small WHERE age >= 25 GROUP BY age"),
    ok(12, "SELECT diagnosis, commune, count(*) FROM chu.small GROUP BY diagnosis, commune"),
    ok(12, "SELECT commune, count(*) n FROM chu.groups WHERE age < 50 GROUP BY commune ORDER BY n > 0"),
    ok(12, "SELECT age FROM chu.small GROUP BY age ORDER BY count(*) LIMIT 3"),
    ok(12, "SELECT age, sum(cost) FROM chu.small GROUP BY age LIMIT 2"),
    ok(12, "SELECT n FROM (SELECT age, count(*) n FROM chu.small GROUP BY age) t"),
    ok(
        12,
        "SELECT commune FROM chu.small GROUP BY commune UNION ALL SELECT CAST(age AS VARCHAR) FROM chu.small GROUP BY age",
    ),
    ok(12, "SELECT zone, month, sum(kwh) FROM grid.readings GROUP BY zone, month"),
    // One's own table marks one person, and a closed value decides.
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid WHERE o.tag = 'other' OR s.commune = 'Rodez'",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid WHERE NOT (o.tag <> 'other' AND s.age < 90)",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid WHERE s.commune = o.place",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid WHERE CASE WHEN o.tag = 'target' THEN s.age > 90 ELSE true END",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT CASE WHEN o.tag = 'target' THEN s.commune ELSE 'z' END g, sum(s.cost) FROM chu.small s JOIN lab.once o ON o.pid = s.pid GROUP BY 1",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM (SELECT o.tag = 'other' OR s.age > 90 AS x FROM chu.small s JOIN lab.once o ON o.pid = s.pid) t WHERE x",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s LEFT JOIN lab.once o ON o.pid = s.pid WHERE COALESCE(o.place, s.commune) = 'Rodez'",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid JOIN chu.communes c ON c.code = s.commune WHERE o.tag = 'other' OR c.department = 'Aveyron'",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(*) FROM chu.small s JOIN grid.readings r ON r.pid = s.pid JOIN lab.once o ON o.pid = s.pid WHERE o.tag = 'other' OR r.kwh > 5",
    ),
    // An equality marks as an expression does.
    no(25, "join", "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid AND o.place = s.commune"),
    no(25, "join", "SELECT count(*) FROM chu.small s LEFT JOIN lab.once o ON o.pid = s.pid AND o.place = s.commune"),
    no(
        25,
        "join",
        "SELECT count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid JOIN chu.communes c ON c.code = s.commune AND c.department = o.place",
    ),
    ok(
        22,
        "SELECT o.tag, s.commune, count(*) FROM chu.small s JOIN lab.once o ON o.pid = s.pid JOIN chu.communes c ON c.code = s.commune WHERE o.tag = 'other' AND s.age < 50 AND c.department <> 'Gers' GROUP BY 1, 2",
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
