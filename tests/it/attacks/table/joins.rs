//! Attacks by joins: repeating rows to reach k or to weigh people, marking people with one's own table, probing who
//! is there, and subject keys where they do not belong.

use super::{Case, no, ok};

/// Joins with one's own notes on people, with other owners' data, and of a dataset with itself.
pub(super) const CROSSINGS: &[Case] = &[
    // Rows of one's own that repeat a person would weigh it.
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g JOIN lab.many o ON o.pid = g.pid"),
    no(25, "join_repeats", "SELECT sum(g.cost) FROM chu.groups g JOIN lab.many o ON o.pid = g.pid WHERE o.w < 3"),
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g JOIN lab.many o ON o.place = g.commune"),
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g LEFT JOIN lab.many o ON o.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM lab.many o LEFT JOIN chu.groups g ON o.pid = g.pid"),
    no(25, "join_repeats", "SELECT count(*) FROM lab.once o JOIN chu.groups g ON o.place = g.commune"),
    no(
        25,
        "join_repeats",
        "SELECT count(*) FROM chu.groups g JOIN (SELECT pid FROM lab.once UNION ALL SELECT pid FROM lab.once) o ON o.pid = g.pid",
    ),
    no(
        25,
        "join_repeats",
        "SELECT count(*) FROM chu.groups g JOIN (SELECT a.pid FROM lab.once a, chu.communes) o ON o.pid = g.pid",
    ),
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g JOIN lab.many o ON o.pid = g.pid WHERE g.age = 1000"),
    no(
        25,
        "join_repeats",
        "SELECT count(*) FROM chu.groups g JOIN lab.many o ON o.pid = g.pid WHERE g.commune = 'Zzz1'",
    ),
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g JOIN grid.meters m ON m.pid = g.pid"),
    no(25, "join_repeats", "SELECT count(*) FROM chu.groups g JOIN lab.many o ON o.pid = g.pid GROUP BY o.w LIMIT 0"),
    ok(25, "SELECT count(*) FROM chu.groups g JOIN (SELECT pid FROM lab.many GROUP BY pid) o ON o.pid = g.pid"),
    ok(25, "SELECT count(*) FROM chu.groups g JOIN (SELECT DISTINCT pid FROM lab.many) o ON o.pid = g.pid"),
    ok(
        25,
        "SELECT g.commune, count(*), sum(cost) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid GROUP BY 1 ORDER BY 1",
    ),
    ok(25, "SELECT o.tag, count(*) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid GROUP BY 1 ORDER BY 1"),
    ok(
        25,
        "SELECT c.department, count(*) FROM chu.groups g JOIN chu.communes c ON c.code = g.commune GROUP BY 1 ORDER BY 1",
    ),
    ok(
        25,
        "SELECT c.department, count(DISTINCT g.pid), avg(g.price), avg(r.kwh) FROM chu.groups g JOIN grid.readings r ON r.pid = g.pid JOIN chu.communes c ON c.code = g.commune GROUP BY 1 ORDER BY 1",
    ),
    // One's own marks on people are no aggregate's argument.
    no(22, "aggregate_only", "SELECT count(*), count(o.tag) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid"),
    no(22, "aggregate_only", "SELECT count(DISTINCT o.tag) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid"),
    no(22, "aggregate_only", "SELECT count(o.pid) FROM chu.groups g LEFT JOIN lab.once o ON o.pid = g.pid"),
    no(
        22,
        "aggregate_only",
        "SELECT count(DISTINCT o.pid) FROM chu.groups g LEFT JOIN (SELECT * FROM lab.once WHERE tag = 'target') o ON o.pid = g.pid",
    ),
    no(
        22,
        "aggregate_only",
        "SELECT count(x) FROM (SELECT o.w AS x FROM chu.groups g JOIN lab.once o ON o.pid = g.pid) t",
    ),
    no(22, "aggregate_only", "SELECT sum(o.w) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid"),
    no(22, "aggregate_only", "SELECT avg(c.population) FROM chu.groups g JOIN chu.communes c ON c.code = g.commune"),
    no(22, "aggregate_only", "SELECT count(c.department) FROM chu.groups g JOIN chu.communes c ON c.code = g.commune"),
    ok(22, "SELECT count(DISTINCT o.pid) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid"),
    no(
        22,
        "aggregate_only",
        "SELECT count(DISTINCT c.code) FROM chu.groups g JOIN chu.communes c ON c.code = g.commune",
    ),
    // A person's own key, once equal to the hidden one, is as closed as that.
    no(17, "subject_key", "SELECT o.pid, count(*) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid GROUP BY o.pid"),
    no(17, "subject_key", "SELECT count(*) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid WHERE o.pid = 's00001'"),
    no(
        17,
        "subject_key",
        "SELECT count(*) FROM chu.groups g JOIN lab.once o ON o.pid = g.pid WHERE right(o.pid, 1) = '1'",
    ),
    no(17, "ambiguous_column", "SELECT count(*) FROM chu.groups JOIN lab.once USING (pid) WHERE pid = 's00001'"),
    // The same data twice, other owners' data by anything but the person, and people by anything but equality.
    no(25, "join", "SELECT count(*) FROM chu.groups a JOIN chu.groups b ON a.pid = b.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups a JOIN chu.groups b USING (pid)"),
    no(25, "join", "SELECT count(*) FROM chu.groups a JOIN chu.groups b ON a.commune = b.commune"),
    no(25, "join", "SELECT count(*) FROM chu.groups a NATURAL JOIN chu.groups b"),
    no(
        25,
        "join",
        "SELECT count(*) FROM chu.groups a JOIN grid.readings r ON r.pid = a.pid JOIN chu.groups b ON b.pid = r.pid",
    ),
    no(25, "join", "WITH g AS (SELECT * FROM chu.groups) SELECT count(*) FROM g a JOIN g b ON a.pid = b.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN grid.readings r ON r.zone = g.commune"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN grid.readings r ON r.pid = g.pid OR r.zone = g.commune"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN grid.readings r ON r.pid = g.pid AND r.kwh > g.cost"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN grid.readings r ON r.pid <> g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN grid.readings r ON r.pid = upper(g.pid)"),
    no(25, "join", "SELECT count(*) FROM chu.groups g, grid.readings r WHERE r.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN chu.communes c ON c.population = g.cost"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN chu.communes c ON c.code = g.diagnosis"),
    no(25, "join", "SELECT count(*) FROM chu.groups g JOIN chu.communes c ON c.code = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g RIGHT JOIN lab.once o ON o.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g FULL JOIN lab.once o ON o.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g LEFT SEMI JOIN lab.once o ON o.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g LEFT ANTI JOIN lab.once o ON o.pid = g.pid"),
    no(25, "join", "SELECT count(*) FROM chu.groups g INNER JOIN lab.once o ON true"),
    no(25, "table_function", "SELECT count(*) FROM chu.groups CROSS JOIN range(1, 20)"),
    no(25, "table_function", "SELECT count(*) FROM chu.groups, UNNEST(ARRAY[1, 2, 3]) u"),
    no(25, "join", "SELECT count(*) FROM chu.groups CROSS JOIN (SELECT 1 UNION ALL SELECT 2) t"),
    // Each owner's k binds for people of its own.
    ok(
        25,
        "SELECT g.commune, r.month, count(*) FROM chu.groups g JOIN grid.readings r ON r.pid = g.pid GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    no(
        25,
        "join",
        "SELECT g.commune, count(*) FROM chu.groups g LEFT JOIN grid.readings r ON r.pid = g.pid GROUP BY 1 ORDER BY 1",
    ),
    no(
        25,
        "join",
        "SELECT g.age, count(*) FROM chu.groups g LEFT JOIN grid.readings r ON r.pid = g.pid WHERE r.kwh IS NULL GROUP BY 1",
    ),
    ok(25, "SELECT count(*) FROM chu.small s JOIN grid.readings r ON r.pid = s.pid WHERE s.commune = 'Rodez'"),
    // Groups that were released are not joined with rows that were not.
    no(
        25,
        "aggregate_only",
        "WITH t AS (SELECT commune, count(*) n FROM chu.groups GROUP BY commune) SELECT count(*) FROM chu.groups g JOIN t ON t.commune = g.commune",
    ),
];
