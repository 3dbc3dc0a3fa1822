PRAGMA temp_store=MEMORY;
CREATE TABLE item(id INTEGER PRIMARY KEY, kind INTEGER, name TEXT, amount INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ROWS)
 INSERT INTO item SELECT i, i*7919%997, 'name '||(i*104729%1000003)||substr('abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz',1,i%50), i*31%10007 FROM n;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_kind ON item(kind, amount);
SELECT kind,count(*),sum(amount),max(name) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 20;
SELECT count(*),sum(a.amount) FROM item a JOIN item b ON b.name=a.name AND b.id>=a.id;
SELECT count(DISTINCT upper(substr(name,1,9))) FROM item;
SELECT length(group_concat(name,',')) FROM (SELECT name FROM item ORDER BY name);
UPDATE item SET name=name||' '||amount WHERE id%3=0;
DELETE FROM item WHERE kind%5=0;
SELECT count(*),min(name),max(name) FROM item;
