%% The other side of bench_runtime: the same things done by OTP. Prints one line for each figure: name, tab, value.
%% It is a gen_server, and the callback of its supervisors as well.
-module(runtime_peer).
-behaviour(gen_server).
-export([run/2, start_link/0, start_link/1, init/1, handle_call/3, handle_cast/2, echo/0, sink/1, flooder/0]).

run(calls, N) ->
    {ok, Server} = gen_server:start(?MODULE, echo, []),
    rounds("gen_server:call", N, fun(Count) -> call(Server, Count) end),
    Echo = spawn(?MODULE, echo, []),
    rounds("raw send and receive", N, fun(Count) -> ask(Echo, Count) end);
run(casts, N) ->
    {ok, Server} = gen_server:start(?MODULE, echo, []),
    rounds("gen_server:cast", N, fun(Count) -> cast(Server, Count), gen_server:call(Server, 0) end),
    Sink = spawn(?MODULE, sink, [0]),
    rounds("raw send", N, fun(Count) -> send(Sink, Count), Sink ! {done, self()}, receive done -> ok end end);
run(spawns, N) ->
    logger:set_primary_config(level, none),
    spawned("gen_server:start", N, fun(_) -> {ok, Pid} = gen_server:start(?MODULE, echo, []), Pid end),
    spawned("raw spawn", N, fun(_) -> spawn(?MODULE, echo, []) end),
    {ok, _} = supervisor:start_link({local, keeper}, ?MODULE, {supervisor, temporary}),
    Names = ets:new(names, [set]),
    spawned("start_child, ets, monitor", N div 4, fun(Number) ->
        {ok, Pid} = supervisor:start_child(keeper, []),
        true = ets:insert_new(Names, {{agent, erlang:unique_integer(), Number}, Pid, [{type, worker}]}),
        monitor(process, Pid),
        Pid
    end);
run(memory, N) ->
    Before = resident(),
    Bare = [element(2, gen_server:start(?MODULE, echo, [])) || _ <- lists:seq(1, N)],
    Between = resident(),
    State = fun(Number) -> #{id => Number, name => <<"worker">>, done => 0, note => none} end,
    Full = [element(2, gen_server:start(?MODULE, {state, State(I)}, [])) || I <- lists:seq(1, N)],
    figure("bare", (Between - Before) / N),
    figure("with state", (resident() - Between) / N),
    true = 2 * N =:= length(Bare) + length(Full);
run(many, N) ->
    Began = erlang:monotonic_time(),
    All = [element(2, gen_server:start(?MODULE, {state, #{id => I, name => <<"worker">>, done => 0, note => none}}, []))
           || I <- lists:seq(1, N)],
    figure("seconds", seconds(erlang:monotonic_time() - Began)),
    figure("GiB", resident() / (1 bsl 30)),
    N = length(All);
run(flooded, N) ->
    {ok, Server} = gen_server:start(?MODULE, echo, []),
    Flood = flood(100),
    Waits = [wait(Server) || _ <- lists:seq(1, N)],
    calm(Flood),
    waits("gen_server:call", Waits);
run(busy, N) ->
    process_flag(priority, high),
    {ok, Server} = gen_server:start(?MODULE, echo, [{spawn_opt, [{priority, high}]}]),
    Flood = flood(10000),
    Waits = [wait(Server) || _ <- lists:seq(1, N)],
    calm(Flood),
    waits("gen_server:call, priority high", Waits);
run(restarts, N) ->
    logger:set_primary_config(level, none),
    {ok, _} = supervisor:start_link({local, keeper}, ?MODULE, {supervisor, permanent}),
    {ok, _} = supervisor:start_child(keeper, [{local, fragile}]),
    rounds("crash, restart, call", N, fun restart/1).

%% -- what is counted

call(_, 0) -> ok;
call(Server, N) -> N = gen_server:call(Server, N), call(Server, N - 1).

ask(_, 0) -> ok;
ask(Pid, N) -> Pid ! {self(), N}, receive {Pid, N} -> ask(Pid, N - 1) end.

cast(_, 0) -> ok;
cast(Server, N) -> gen_server:cast(Server, N), cast(Server, N - 1).

send(_, 0) -> ok;
send(Pid, N) -> Pid ! N, send(Pid, N - 1).

restart(0) -> ok;
restart(N) ->
    Before = whereis(fragile),
    gen_server:cast(Before, crash),
    again(Before),
    restart(N - 1).

again(Before) ->
    case whereis(fragile) of
        undefined -> erlang:yield(), again(Before);
        Before -> erlang:yield(), again(Before);
        Next -> 1 = gen_server:call(Next, 1)
    end.

wait(Server) ->
    Due = erlang:monotonic_time() + erlang:convert_time_unit(5, millisecond, native),
    receive after 5 -> ok end,
    1 = gen_server:call(Server, 1, 60000),
    seconds(erlang:monotonic_time() - Due).

%% -- actors

start_link() -> gen_server:start_link(?MODULE, echo, []).
start_link(Name) -> gen_server:start_link(Name, ?MODULE, echo, []).

init({supervisor, Restart}) ->
    Child = #{id => child, start => {?MODULE, start_link, []}, restart => Restart},
    {ok, {#{strategy => simple_one_for_one, intensity => 100000000, period => 1}, [Child]}};
init({state, State}) -> {ok, State};
init(echo) -> {ok, none}.

handle_call(Message, _, State) -> {reply, Message, State}.

handle_cast(crash, _) -> error(as_told);
handle_cast(_, State) -> {noreply, State}.

echo() -> receive {From, Message} -> From ! {self(), Message}, echo() end.

sink(N) -> receive {done, From} -> From ! done, sink(0); _ -> sink(N + 1) end.

flood(N) ->
    Pids = [spawn(?MODULE, flooder, []) || _ <- lists:seq(1, N)],
    [Pid ! go || Pid <- Pids],
    receive after 200 -> ok end,
    Pids.

calm(Pids) -> [exit(Pid, kill) || Pid <- Pids].

flooder() -> receive go -> self() ! go, flooder() end.

%% -- measuring

rounds(Name, N, Work) ->
    Work(max(1, N div 10)),
    {Walls, Busies} = lists:unzip([timed(fun() -> Work(N) end) || _ <- lists:seq(1, 5)]),
    rates(Name, N, Walls, Busies).

spawned(Name, N, Start) ->
    {Walls, Busies} = lists:unzip([one_spawned(N, Start) || _ <- lists:seq(1, 3)]),
    rates(Name, N, Walls, Busies).

one_spawned(N, Start) ->
    Me = self(),
    Taken = timed(fun() -> Me ! {made, [Start(I) || I <- lists:seq(1, N)]} end),
    receive {made, Pids} -> [exit(Pid, kill) || Pid <- Pids] end,
    receive after 300 -> ok end,
    Taken.

rates(Name, N, Walls, Busies) ->
    figure(Name, N / middle(Walls)),
    figure(Name ++ ", CPU", N / max(0.001, middle(Busies))).

timed(Work) ->
    erlang:garbage_collect(),
    {Busy, _} = statistics(runtime),
    Began = erlang:monotonic_time(),
    Work(),
    Wall = seconds(erlang:monotonic_time() - Began),
    {Later, _} = statistics(runtime),
    {Wall, (Later - Busy) / 1000}.

waits(Name, Seconds) ->
    Sorted = lists:sort(Seconds),
    Count = length(Sorted),
    figure(Name ++ ", p50", 1000 * lists:nth(max(1, Count div 2), Sorted)),
    figure(Name ++ ", p99", 1000 * lists:nth(max(1, Count * 99 div 100), Sorted)).

middle(Numbers) -> lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).

seconds(Native) -> erlang:convert_time_unit(Native, native, nanosecond) / 1000000000.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:split(Text, " ", all),
    binary_to_integer(Pages) * 4096.

figure(Name, Value) -> io:format("~s\t~w~n", [Name, float(Value)]).
