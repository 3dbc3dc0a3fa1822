.bail on
.headers on
SELECT count(*), sum(amount), min(name), max(name) FROM sale;
SELECT region, count(*), sum(amount), avg(length(note)) FROM sale GROUP BY region ORDER BY region;
CREATE INDEX sale_name ON sale(name, amount);
SELECT name, total, rank() OVER (ORDER BY total DESC, name)
  FROM (SELECT name, sum(amount) AS total FROM sale GROUP BY name) ORDER BY total DESC, name LIMIT 20;
SELECT p.kind, count(DISTINCT s.name), sum(s.amount * p.price)
  FROM sale s JOIN product p ON p.id = s.product GROUP BY p.kind ORDER BY p.kind;
WITH RECURSIVE walk(n, text) AS (SELECT 1, '' UNION ALL SELECT n + 1, text || char(97 + n % 26) FROM walk WHERE n < 2000)
  SELECT count(*), max(length(text)), sum(length(upper(text))) FROM walk;
SELECT json_group_array(json_object('id', id, 'kind', kind)) FROM (SELECT * FROM product ORDER BY id LIMIT 40);
UPDATE sale SET note = note || ' seen ' || id WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 11 = 0;
SELECT group_concat(name, ';') FROM (SELECT DISTINCT name FROM sale ORDER BY name LIMIT 300);
SELECT count(*), sum(length(note)) FROM sale WHERE note LIKE '%seen 1%';
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(length(note)) FROM sale;
