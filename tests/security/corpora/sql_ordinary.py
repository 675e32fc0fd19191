"""Ordinary SQL: what an agent with every right to the four tables of `sql` would send."""

COMMON = tuple(
    line.strip()
    for line in """
select * from customers
select id, name from customers
select name as customer, city from customers where city = 'Oslo'
select c.name, o.total from customers c join orders o on o.customer_id = c.id
select c.name, count(*) from customers c left join orders o on o.customer_id = c.id group by c.name
select c.name, count(o.id) as n, sum(o.total) as total from customers c join orders o on o.customer_id = c.id group by c.name having sum(o.total) > 10 order by total desc
select * from orders where total between 5 and 50 order by placed desc limit 10
select * from orders order by id limit 10 offset 5
select distinct city from customers
select count(*), min(total), max(total), avg(total), sum(total) from orders
select count(distinct customer_id) from orders
select * from orders where status in ('paid', 'open')
select * from orders where status not in ('paid')
select * from orders where note is null
select * from orders where note is not null and status <> 'open'
select * from customers where name like 'A%'
select * from customers where name not like '%x%' or email is null
select * from customers where lower(name) = lower(:name)
select * from customers where id = :id
select * from orders where customer_id = :customer and status = :status
select * from orders where total > :low and total < :high limit :n
select upper(name), length(name), trim(name), replace(name, 'a', 'b') from customers
select coalesce(email, 'none'), nullif(city, '') from customers
select round(total, 2), abs(total - 10) from orders
select case when total > 20 then 'big' when total > 5 then 'middle' else 'small' end as size, count(*) from orders group by 1
select case status when 'paid' then 1 else 0 end from orders
select cast(total as integer), cast(id as text) from orders
select name || ' <' || email || '>' from customers
select total * 1.25 as gross, total / 2, total + 1, total - 1, id % 2 from orders
select -total, not (total > 3) from orders
select * from orders o where exists (select 1 from items i where i.order_id = o.id)
select * from customers where id not in (select customer_id from orders)
select * from customers c where not exists (select 1 from orders o where o.customer_id = c.id)
select (select count(*) from orders) as orders, (select count(*) from customers) as customers
select o.id, (select sum(quantity * price) from items i where i.order_id = o.id) as value from orders o
select * from (select customer_id, sum(total) as total from orders group by customer_id) t where t.total > 5
select c.name, t.total from customers c join (select customer_id, sum(total) as total from orders group by customer_id) t on t.customer_id = c.id
with big as (select * from orders where total > 20) select * from big
with big as (select * from orders where total > 20), who as (select distinct customer_id from big) select name from customers where id in (select customer_id from who)
with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select i from n
with recursive tree as (select id, name, 0 as level from products where id = 1 union all select p.id, p.name, t.level + 1 from products p join tree t on p.id = t.id + 1) select * from tree
select name from customers union select name from products
select name from customers union all select name from products order by 1
select customer_id from orders intersect select id from customers
select id from customers except select customer_id from orders
select row_number() over (order by total desc) as place, id from orders
select id, sum(total) over (partition by customer_id order by placed) as running from orders
select id, rank() over (order by total), dense_rank() over (order by total) from orders
select id, lag(total) over (order by placed) as before, lead(total) over (order by placed) as after from orders
select id, total - avg(total) over () as difference from orders
select id, ntile(4) over (order by total) from orders
select first_value(id) over (partition by status order by total) from orders
select sum(total) over (order by id rows between 2 preceding and current row) from orders
select sum(total) filter (where status = 'paid') as paid, count(*) from orders
select row_number() over w from orders window w as (partition by status order by id)
select c.name, p.name, i.quantity from customers c join orders o on o.customer_id = c.id join items i on i.order_id = o.id join products p on p.id = i.product_id
select * from orders o inner join customers c on c.id = o.customer_id where c.city = 'Rome' and o.total >= 10
select * from orders left outer join customers on customers.id = orders.customer_id
select a.name, b.name from customers a cross join customers b where a.id < b.id
select * from customers, orders where customers.id = orders.customer_id
select p.category, sum(i.quantity) from products p join items i on i.product_id = p.id group by p.category order by 2 desc
select status, count(*) as n from orders group by status order by n desc, status asc
select * from products where price = (select max(price) from products)
select * from products where (category, price) in (select category, min(price) from products group by category)
select * from products where category = 'drink' and (price < 5 or name = 'pot')
select current_date, current_timestamp
select 1
select 1 + 1 as two
select 'it''s' as quoted, 'a;b' as semicolon, '-- no comment' as dashes, '/* none */' as stars
select null, true, false
select max(id) + 1 from orders
select "name", "city" from "customers"
select c."name" from "customers" as c
select name -- the name
from customers /* all of them */ where id = 1
select name from customers;
SELECT NAME FROM CUSTOMERS WHERE ID = 1
select   name   from   customers   where   id=1
select count(*) from orders where placed >= '2026-01-01' and placed < '2027-01-01'
select count(*) as total_orders, sum(total) as revenue, avg(total) as average from orders where status = 'paid'
select substr(name, 1, 3) from customers
select min(price), max(price) from products group by category having count(*) > 1
select o.* from orders o
select o.id, c.* from orders o join customers c on c.id = o.customer_id
select distinct c.city, o.status from customers c join orders o on c.id = o.customer_id order by c.city
select * from orders where not (status = 'paid' and total > 5)
select * from orders where total > (select avg(total) from orders)
select * from orders order by case when status = 'open' then 0 else 1 end, placed
select * from orders order by total desc nulls last
select * from (values (1, 'a'), (2, 'b')) as t
values (1, 'x'), (2, 'y')
select count(*) from (select distinct city from customers) t
select * from orders where id in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
select id, total from orders where total > 1e1 and total < 2.5e3
select * from items where quantity * price > 20
select name, price from products where name = :a or name = :b or name = :c
select 100.0 * sum(case when status = 'paid' then 1 else 0 end) / count(*) as share from orders
insert into customers (id, name) values (10, 'Cia')
insert into customers (id, name, city) values (11, 'Dan', 'Bern'), (12, 'Eva', 'Graz')
insert into customers (id, name, email) values (:id, :name, :email)
insert into customers (id, name) select id + 100, name from customers
insert into orders (id, customer_id, total) select 50, id, 0 from customers where name = 'Ann'
insert into customers (id, name) values (13, 'Fay') returning id, name
insert into customers (id, name) values (1, 'Ann') on conflict do nothing
insert into customers (id, name) values (1, 'Anna') on conflict (id) do update set name = excluded.name
insert into customers (id, name) values (1, 'Anna') on conflict (id) do update set name = excluded.name where customers.name <> excluded.name
update customers set city = 'Oslo' where id = 2
update customers set city = :city, email = :email where id = :id
update orders set total = total * 1.1 where status = 'open'
update orders set status = 'late' where id in (select order_id from items where quantity > 1)
update orders set note = (select name from customers where customers.id = orders.customer_id)
update orders set note = c.name from customers c where c.id = orders.customer_id
update orders set status = 'paid' where id = 1 returning id, status
update customers set email = null
delete from items where order_id = 2
delete from items where order_id in (select id from orders where status = 'open')
delete from items
delete from orders where id = :id returning *
with old as (select id from orders where total < 5) delete from items where order_id in (select id from old)
create table notes (id integer primary key, text text not null, made timestamp default current_timestamp)
create table if not exists tags (id integer primary key, name varchar(40) unique, product_id integer references products (id))
create table pairs (a integer, b integer, primary key (a, b), check (a < b))
create table rich as select * from orders where total > 20
create view open_orders as select * from orders where status = 'open'
create index by_customer on orders (customer_id)
create unique index if not exists by_email on customers (lower(email))
create index open_ones on orders (placed) where status = 'open'
alter table customers add column phone text
alter table customers add column active integer not null default 1
alter table customers rename column city to town
alter table items rename to lines
alter table products drop column category
drop table items
drop table if exists items
""".replace("\nfrom customers /*", "\\nfrom customers /*").splitlines()
    if line.strip()
)

ORDINARY = {
    "sqlite": tuple(statement.replace("\\n", "\n") for statement in COMMON)
    + tuple(
        line.strip()
        for line in """
select date('now'), datetime('now', '-7 days'), time('now'), strftime('%Y-%m', placed) from orders
select strftime('%Y', placed) as year, sum(total) from orders group by year
select julianday('now') - julianday(placed) from orders
select unixepoch('now')
select json_extract(doc, '$.n'), doc ->> '$.n', doc -> '$.tags' from products
select json_object('id', id, 'name', name) from products
select json_group_array(name) from products
select json_array_length(doc, '$.tags') from products
select group_concat(name, ', ') from customers
select ifnull(email, ''), iif(id > 1, 'a', 'b'), instr(name, 'n'), typeof(city) from customers
select printf('%05.2f', total) from orders
select rowid, * from customers where rowid = 1
select name from customers order by name collate nocase
select * from customers where name = 'ann' collate nocase
select * from customers where name glob 'A*'
select total || '' from orders
select hex(name), unicode(name), char(65) from customers
select max(id, 5), min(id, 5) from orders
select ltrim(name), rtrim(name), substr(name, -2) from customers
select count(*) from main.orders
select [name] from [customers]
select `name` from `customers`
select * from customers limit 5, 10
select random()
select changes(), last_insert_rowid()
select total(total) from orders
select percent_rank() over (order by total), cume_dist() over (order by total) from orders
select date(placed, 'start of month') as month, count(*) from orders group by 1
select quote(name) from customers
select x'0aff'
select 7 / 2, 7 % 2, 5 & 3, 5 | 3, ~5, 1 << 3
select id is 1, id is not 1 from customers
select cast(total as real), cast(total as blob) from orders
select json_valid(doc) from products
select nth_value(id, 2) over (order by id) from orders
insert or ignore into customers (id, name) values (1, 'x')
insert or replace into customers (id, name) values (1, 'x')
insert into customers default values
create table logs (id integer primary key autoincrement, line text)
create table blobs (id integer primary key, data blob, at text default (datetime('now')))
create table prices (id integer primary key, price real check (price >= 0), name text collate nocase)
drop view if exists nothing
drop index if exists nothing
select avg(total) from orders where placed > date('now', '-30 days')
select substr(email, instr(email, '@') + 1) as host, count(*) from customers group by host
select sqrt(4), floor(1.5), ceil(1.5), pow(2, 3), ln(2), exp(1)
""".splitlines()
        if line.strip()
    ),
    "postgres": tuple(
        statement.replace("\\n", "\n")
        for statement in COMMON
        if "round(total" not in statement or "numeric" in statement
    )
    + tuple(
        line.strip()
        for line in """
select date_trunc('month', placed) as month, sum(total) from orders group by 1 order by 1
select extract(year from placed), extract(epoch from placed) from orders
select now() - placed, age(placed), now() - interval '7 days' from orders
select * from orders where placed > now() - interval '1 month'
select placed::date, total::int, id::text from orders
select to_char(placed, 'YYYY-MM-DD'), to_char(total, '999.99') from orders
select doc ->> 'n', doc -> 'tags' ->> 0, doc #>> '{tags,0}' from products
select * from products where doc @> '{"n": 1}'
select jsonb_build_object('id', id, 'name', name) from products
select jsonb_agg(name), array_agg(id order by id), string_agg(name, ', ' order by name) from products
select json_agg(c) from customers c
select row_to_json(c) from customers c
select to_jsonb(c) from customers c
select jsonb_array_length(doc -> 'tags') from products where doc ? 'tags'
select * from customers where name ilike 'a%'
select * from customers where name ~ '^A' and email !~ 'x'
select * from customers where email is distinct from 'x'
select distinct on (customer_id) customer_id, total from orders order by customer_id, total desc
select * from orders where id = any(array[1, 2, 3])
select * from orders where status = any('{paid,open}'::text[])
select concat(name, ' ', city), concat_ws(', ', name, city), initcap(name), left(name, 2), right(name, 2) from customers
select split_part(email, '@', 2) as host, count(*) from customers group by 1
select regexp_replace(name, 'n+', 'm', 'g'), position('n' in name), strpos(name, 'n') from customers
select substring(name from 1 for 2), substring(name, 2), overlay(name placing 'x' from 1 for 1) from customers
select greatest(1, 2), least(1, 2), ceil(1.5), floor(1.5), power(2, 3), sqrt(4), mod(5, 2)
select percentile_cont(0.5) within group (order by total), stddev(total), variance(total) from orders
select bool_and(total > 1), bool_or(total > 1), every(total > 1) from orders
select count(*) filter (where status = 'paid') from orders
select c.name, o.total from customers c, lateral (select total from orders where customer_id = c.id order by total desc limit 1) o
select c.name, o.total from customers c left join lateral (select total from orders where customer_id = c.id limit 1) o on true
select status, count(*) from orders group by rollup(status)
select status, customer_id, count(*) from orders group by grouping sets ((status), (customer_id), ())
with orders as (select * from orders where status = 'paid') select count(*) from orders
select array(select id from orders order by id)
select a.x, a.y from (values (1, 'a'), (2, 'b')) as a (x, y)
select gen_random_uuid(), md5('x'), random()
select * from public.orders
select make_date(2026, 1, 2), to_date('2026-01-02', 'YYYY-MM-DD'), to_timestamp(0)
select date_part('dow', placed) from orders
select placed at time zone 'utc' from orders
select * from customers order by name collate "C"
select * from customers fetch first 3 rows only
select * from customers limit 3 offset 1
select total::numeric(10,1), round(total, 1), trunc(total, 1) from orders
select 'a' || 1, 5 / 2, 5 % 2, 5 & 3, 5 | 3, 1 << 2
select * from customers where (name, city) = ('Ann', 'Oslo')
select to_tsvector(name) @@ plainto_tsquery('tea') from products
select cardinality(array[1, 2]), array_length(array[1, 2], 1), array_to_string(array['a', 'b'], ',')
select * from customers where created between '2026-01-01' and '2026-12-31'
select coalesce(sum(total), 0)::float from orders where status = :status
select jsonb_set(doc, '{n}', '2'), jsonb_typeof(doc -> 'n') from products
select lag(total, 1, 0) over (order by id) from orders
update products set doc = jsonb_set(doc, '{n}', '2') where id = 1
update products set doc = '{"a": 1}'::jsonb where id = :id
delete from items using orders where orders.id = items.order_id and orders.status = 'open'
insert into customers (id, name, created) values (20, 'Gus', now())
insert into products (id, name, doc) values (:id, :name, cast(:doc as jsonb))
create table events (id bigserial primary key, at timestamptz default now(), data jsonb not null default '{}', kind varchar(20))
create table ids (id uuid primary key default gen_random_uuid(), price numeric(10, 2) check (price > 0))
alter table customers alter column name type varchar(100)
alter table customers add constraint named check (length(name) > 0)
truncate table items
truncate items, orders
drop view if exists nothing
drop index if exists nothing
""".splitlines()
        if line.strip()
    ),
}
