"""SQL that tries to touch what was not granted, and a world to try it in."""

CANARY = "canary: nobody may read this"
"""In every row of the tables that are not granted."""
GRANTED = ("customers", "orders", "items", "products")

TABLES = """
create table customers (id integer primary key, name text, email text, city text, created {stamp});
create table orders (id integer primary key, customer_id integer, total {money}, status text, placed {stamp}, note text);
create table items (id integer primary key, order_id integer, product_id integer, quantity integer, price {money});
create table products (id integer primary key, name text, price {money}, category text, doc {json});
create table secret (k text, v text);
create table vault (id integer primary key, name text, price text);
insert into customers values (1, 'Ann', 'ann@example.org', 'Oslo', '2026-01-02'), (2, 'Bob', null, 'Rome', '2026-02-03');
insert into orders values (1, 1, 9.50, 'paid', '2026-03-04', 'n'), (2, 2, 30, 'open', '2026-03-05', null);
insert into items values (1, 1, 1, 2, 4.75), (2, 2, 2, 1, 30);
insert into products values (1, 'tea', 4.75, 'drink', '{{"tags": ["hot"], "n": 1}}'), (2, 'pot', 30, 'ware', '{{}}');
insert into secret values ('key', '{canary}');
insert into vault values (1, '{canary}', '{canary}');
"""


def tables(dialect: str) -> str:
    """The statements that make the world."""
    kinds = (
        {"stamp": "text", "money": "real", "json": "text"}
        if dialect == "sqlite"
        else {"stamp": "timestamptz", "money": "numeric(10,2)", "json": "jsonb"}
    )
    return TABLES.format(canary=CANARY, **kinds)


# Attacks. Whoever holds every right to the four granted tables, and no other, gets none of them done.

EVERYWHERE = (
    # more than one statement, or one that is none
    "select 1; drop table secret", "select 1;;drop table secret;", "; select * from secret", "select 1 -- \n; delete from secret",
    "commit; drop table secret", "begin; delete from secret; commit", "rollback", "savepoint x", "", " ", ";", "--", "/* */",
    # another table, by each door
    "select * from secret", "SELECT * FROM SECRET", 'select * from "secret"', "select v from orders, secret",
    "select * from orders join secret on true", "select * from orders natural join secret",
    "select * from orders where id in (select 1 from secret)", "select (select v from secret)", "select exists(select 1 from secret)",
    "select 1 union all select v from secret", "select name from products intersect select v from secret",
    "select name from products except select v from secret", "(select v from secret)", "((select v from secret))",
    "select * from (select v from secret) orders", "with orders as (select * from secret) select * from orders",
    "with secret as (select * from secret) select * from secret",
    "with a as (select * from b), b as (select * from secret) select * from a",
    "with x as (select 1) select * from secret", "select * from (with secret as (select 1) select * from secret) x, secret",
    "(with secret as (select 1) select * from secret) union select v from secret",
    "with recursive r as (select v from secret union all select v from r) select * from r",
    "select case when (select count(*) from secret) > 0 then 1 end", "select * from orders order by (select v from secret)",
    "select * from orders limit (select count(*) from secret)", "select * from orders offset (select count(*) from secret)",
    "select count(*) filter (where exists (select 1 from secret)) from orders",
    "select sum(id) over (order by (select v from secret)) from orders", "select * from orders group by (select v from secret)",
    "select 1 from orders having (select count(*) from secret) > 0", "select coalesce(null, (select v from secret))",
    "values ((select v from secret))", "select * from orders where (id, 1) in (select 1, 1 from secret)",
    "select secret.v from orders, secret", "select * from orders as secret, secret as orders",
    "select /*! v from secret -- */ * from secret", "select/**/v/**/from/**/secret", "select v from/*x*/secret--",
    # changing another table, or with another's rows
    "insert into secret values (1, 2)", "insert into secret select * from orders", "update secret set v = 1",
    "delete from secret", "drop table secret", "alter table secret rename to orders2", "create index i on secret (v)",
    "create table t2 as select * from secret", "create view v2 as select * from secret", "truncate table secret",
    "insert into orders (id, note) select 9, v from secret", "update orders set note = (select v from secret)",
    "update orders set note = v from secret", "delete from orders where note in (select v from secret)",
    "insert into orders (id) values (9) returning (select v from secret)", "insert into orders (id, note) values (9, (select v from secret))",
    "insert into orders (id) values (1) on conflict (id) do update set note = (select v from secret)",
    "alter table orders rename to secret", "create table t3 (a integer references secret (k))",
    "create table t4 (a integer check (a in (select 1 from secret)))", "drop table orders, secret",
    "with d as (delete from orders returning *) select * from d", "with d as (delete from secret returning *) select * from d",
    "with d as (insert into orders (id) values (7) returning *) select * from d",
    "with d as (update orders set note = 1 returning *) select * from d",
    # not for a statement at all
    "pragma table_info(secret)", "attach database '/tmp/x' as y", "detach y", "vacuum", "vacuum into '/tmp/x'", "reindex",
    "analyze", "explain select * from secret", "explain analyze delete from orders", "explain query plan select * from secret",
    "copy secret to '/tmp/x'", "copy orders from program 'id'", "copy (select * from secret) to stdout",
    "set role postgres", "set session authorization postgres", "reset all", "show all", "load '/tmp/x.so'",
    "do $$ begin delete from secret; end $$", "call f()", "listen x", "notify x", "lock table orders", "grant all on secret to public",
    "revoke all on secret from public", "create role x superuser", "create extension dblink", "create schema x",
    "drop schema public cascade", "create function f() returns int as 'select 1' language sql", "prepare x as select * from secret",
    "execute x", "deallocate all", "declare c cursor for select * from secret", "fetch all from c", "checkpoint", "cluster",
    "create trigger t after insert on orders begin insert into secret values (1, 2); end",
    "create rule r as on select to orders do instead select * from secret", "alter system set x = 1",
    "alter role postgres password 'x'", "create temp table x (a int)", "create virtual table x using fts5(a)",
    "table secret", "select * into x from orders", "select * from orders for update", "select * from orders for share",
    "merge into orders using secret on true when matched then delete", "drop table orders cascade", "create database x",
    "refresh materialized view x", "create materialized view m as select 1", "comment on table secret is 'x'",
    "security label on table secret is 'x'", "import foreign schema x from server y into z", "create server s foreign data wrapper w",
    "create publication p for all tables", "create event trigger e on ddl_command_start execute function f()",
    "drop owned by current_user", "reassign owned by x to y", "discard all", "move c", "unlisten *", "end", "abort",
    "create policy p on orders", "create sequence s", "create type t as (a int)", "create domain d as int", "create cast (a as b)",
    # functions
    "select load_extension('/tmp/x')", "select readfile('/etc/passwd')", "select writefile('/tmp/x', 'y')", "select edit('x')",
    "select fts3_tokenizer('x')", "select pg_read_file('/etc/passwd')", "select pg_read_binary_file('/etc/passwd')",
    "select pg_ls_dir('/')", "select pg_sleep(1)", "select pg_terminate_backend(1)", "select lo_import('/etc/passwd')",
    "select lo_export(1, '/tmp/x')", "select lo_get(1)", "select set_config('role', 'postgres', false)", "select current_setting('x')",
    "select nextval('s')", "select setval('s', 1)", "select query_to_xml('select * from secret', true, true, '')",
    "select table_to_xml('secret', true, true, '')", "select database_to_xml(true, true, '')", "select cursor_to_xml('c', 1, true, true, '')",
    "select schema_to_xml('public', true, true, '')", "select ts_stat('select v from secret')", "select * from ts_stat('select 1')",
    "select ts_rewrite(to_tsquery('a'), 'select * from secret')", "select dblink('x', 'y')", "select * from dblink('x', 'y') as t(a int)",
    "select pg_reload_conf()", "select pg_logical_emit_message(true, 'a', 'b')", "select pg_switch_wal()", "select pg_promote()",
    "select pg_stat_file('/etc/passwd')", "select pg_advisory_lock(1)", "select pg_notify('a', 'b')", "select txid_current()",
    "select version()", "select sqlite_version()", "select current_user", "select session_user", "select inet_server_addr()",
    "select pg_backend_pid()", "select has_table_privilege('secret', 'select')", "select to_regclass('secret')",
    "select pg_get_viewdef('x')", "select obj_description(1)", "select pg_relation_size('secret')", "select 'secret'::regclass",
    "select cast('secret' as regclass)", "select pg_catalog.pg_sleep(1)", 'select "pg_sleep"(1)', "select PG_SLEEP(1)",
    "select pg_sleep/**/(1)", "select zeroblob(1000000000)", "select randomblob(1000000000)", "select load_file('/etc/passwd')",
    "select sleep(5)", "select benchmark(1, 2)", "select xp_cmdshell('id')", "select sys_exec('id')", "select eval('select * from secret')",
    # functions in place of tables
    "select * from pragma_table_info('secret')", "select * from pragma_database_list", "select * from json_each('[1]')",
    "select * from json_tree('[1]')", "select * from generate_series(1, 1000000000)", "select * from dbstat", "select * from sqlite_dbpage",
    "select * from bytecode('select 1')", "select * from completion('x')", "select * from unnest(array[1])",
    "select * from pg_ls_dir('/')", "select * from pg_read_file('/etc/passwd')", "select * from rows from (pg_ls_dir('/'))",
    "select * from orders, lateral pg_ls_dir('/')", "select * from xmltable('x' passing 'y' columns a int)",
    # what the system keeps
    "select * from sqlite_master", "select * from sqlite_schema", "select sql from main.sqlite_master", "select * from sqlite_temp_master",
    "select * from sqlite_sequence", "select * from sqlite_stat1", "update sqlite_master set sql = 'x'", "delete from sqlite_master",
    "select * from temp.orders", "select * from other.orders", "select * from pg_catalog.pg_authid", "select * from pg_shadow",
    "select * from pg_authid", "select * from information_schema.tables", "select * from pg_class", "select * from pg_stat_activity",
    "select * from pg_temp.orders", "select * from pg_toast.pg_toast_1", "select * from db.public.secret",
    # words for values
    "select * from orders where id = ?", "select * from orders where id = ?1", "select * from orders where id = $1",
    "select * from orders where id = @id", "select * from orders where id = %s", "select * from orders where id = %(id)s",
    "select * from orders where id = #1", "select * from orders where id = :1",
    # characters
    "select * from secret\0", "sel\0ect * from secret", "select * from sec\ud800ret", "\u017felect * from secret",
    "select * from \uff53ecret, secret", "select\u00a0*\u00a0from\u00a0secret", "select * from\u200bsecret", "select 'a\\'; drop table secret; --'",
    "select * from orders where note = 'x' or 1=1; delete from orders --'", "select * from orders where '1' = '1' union select k, v, 1, 1, 1, 1 from secret",
)  # fmt: skip

BY_DIALECT = {
    "sqlite": (
        "select * from pragma_table_list", "select * from pragma_table_info where arg = 'secret'", "select * from json_each where json = '[1]'",
        "select * from fts5vocab", "select * from Pragma_Database_List", "select * from sqlite_stmt", "select * from [pragma_function_list]",
        "select * from [secret]", "select * from `secret`", "select * from 'secret'", "select * from main.secret",
        "select 1 in secret", "select * from orders where id in secret", "select 1 in main.secret", "select * from orders where id not in secret",
        "select * from main.'secret'", 'select * from "main"."secret"', "select * from main . secret", "select * from [main].[secret]",
        "replace into secret values (1, 2)", "insert or replace into secret values (1, 2)", "insert or rollback into orders (id) values (1)",
        "insert or abort into secret values (1, 2)", "update or replace secret set v = 1", "select * from orders indexed by secret",
        "select * from orders not indexed join secret", "select * from secret not indexed", "select x'00' || (select v from secret)",
        "select * from orders where note match (select v from secret)", "select raise(abort, 'x')", "pragma writable_schema = on",
        "pragma journal_mode = off", "pragma database_list", "select * from orders where id = (select max(k) from secret)",
        "select * from (secret)", "select * from (orders, secret)", "select * from (orders join secret)", "select * from ((secret))",
        "create table secret2 as select * from main.secret", "create temporary view x as select * from secret", "select last_insert_rowid(), v from secret",
        "insert into orders (id) select k from secret", "delete from orders returning (select v from secret)",
        "update orders set id = 1 returning (select v from secret)", "select total_changes()", "select sqlite_compileoption_get(1)",
        "select iif(1, (select v from secret), 1)", "select json_group_array((select v from secret))", "select printf('%s', v) from secret",
        "select /* /* */ v from secret -- */", "select 1 /* unclosed", "select 'unclosed", 'select "unclosed', "select [unclosed",
        "select * from orders union select k, v, 1, 1, 1, 1 from secret", "select * from orders cross join secret", "select * from orders left join secret",
        "select * from orders full join secret", "with t(a) as materialized (select v from secret) select a from t",
        "with t as not materialized (select v from secret) select * from t", "select * from orders where exists (select * from secret where k = orders.id)",
        "create index secret_i on orders (id) where id in (select 1 from secret)", "create table x (a default (select v from secret))",
        "create table x (a generated always as ((select v from secret)))", "drop view secret", "drop index secret", "alter table secret add column x",
        "alter table secret drop column v", "create table if not exists secret (a)", "create trigger if not exists x delete on orders begin select 1; end",
        "select * from orders where id = 1 collate (select v from secret)", "select * from secret where rowid = 1", "select _rowid_ from secret",
        "select * from orders window w as (order by (select v from secret))", "select 1 where 1 in (values ((select v from secret)))",
    ),
    "postgres": (
        "select ('/etc/hostname'::text).pg_read_file", "select (1).pg_sleep", "select ('x'::text).query_to_xml", "select (orders).id from orders",
        "select orders.note.pg_read_file from orders", "select (array['/etc/hostname'])[1].pg_read_file", "select public.orders.id from public.orders",
        "select * from public.secret", 'select * from "public"."secret"', 'select * from U&"s\\0065cret"', "select * from U&\"s!0065cret\" uescape '!'",
        "select * from only secret", "select * from secret *", "select * from secret tablesample system (100)", "table public.secret",
        "select * from orders, lateral (select * from secret) x", "select * from orders cross join lateral (select * from secret) x",
        "select array(select v from secret)", "select 1 = any(select 1 from secret)", "select 1 = all(select 1 from secret)",
        "select row(v) from secret", "select * from secret as orders", "select orders from secret orders", "select to_json(secret) from secret",
        "select * from orders for no key update", "select * from orders for key share", "select * from orders for update of orders skip locked",
        "select 1 operator(pg_catalog.+) 2", "select E'\\'; drop table secret; --'", "select E'\\\\'; drop table secret; --'", "select B'1'::bit; select 1",
        "select $$a$$; drop table secret", "select $x$ $$ $x$ ; drop table secret", "select U&'d\\0061t' uescape '!'",
        "select 'secret'::regclass::oid", "select 1::regproc", "select 'postgres'::regrole", "select 'a'::public.mytype", "select 'a'::mytype",
        "select cast('x' as pg_authid)", "select null::secret", "select null::secret[]", "select (null::secret).v", "select xmlparse(document 'x')", "select xmlelement(name a)",
        "select 1 into x", "create unlogged table x (a int)", "create table x (like secret)", "create table x () inherits (secret)",
        "create table x partition of secret default", "create table x of secret", "alter table orders owner to postgres", "alter table orders set schema x",
        "alter table orders inherit secret", "alter table orders attach partition secret default", "alter table orders enable row level security",
        "alter table orders disable trigger all", "alter table orders set (autovacuum_enabled = false)", "alter table orders set tablespace x",
        "create index on orders using gin (id) tablespace x", "create index concurrently i on orders (id)", "drop index concurrently i", "create or replace view v as select * from secret",
        "create recursive view v (a) as select v from secret", "truncate secret", "truncate orders, secret", "truncate orders cascade", "truncate orders restart identity",
        "delete from orders using secret where true", "update orders set note = v from secret where k = 'key'", "delete from only secret",
        "insert into orders (id) values (1) on conflict (id) where (select true from secret) do nothing", "insert into public.secret values (1, 2)",
        "select count(*) from secret having true", "select * from orders fetch first (select 1 from secret) rows only", "select distinct on ((select v from secret)) id from orders",
        "select * from orders group by grouping sets (((select v from secret)))", "select sum(id) over w from orders window w as (partition by (select v from secret))",
        "select percentile_cont(0.5) within group (order by (select 1 from secret)) from orders", "select string_agg(v, ',') from secret",
        "select * from secret join orders using (id)", "select * from orders where (select v from secret) is not null", "select interval '1' || (select v from secret)",
        "select extract(epoch from (select v from secret)::timestamptz)", "select * from orders where note like (select v from secret)",
        "select jsonb_path_query('{}', '$')", "select pg_typeof(1)", "select pg_column_size(v) from secret", "select setseed(1)", "select repeat('x', 1000000000)",
        "select generate_series(1, 1000000000)", "select unnest(array[1])", "select regexp_split_to_table('a', 'b')", "select regexp_matches('a', 'b')", "select jsonb_each('{}')",
        "select current_catalog", "select current_schema", "select current_role", "select user", "select * from current_user",
        "select * from public.pg_authid", "select * from " + "s" * 64,
    ),
}  # fmt: skip
