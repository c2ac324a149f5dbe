#!/usr/bin/env escript
%%! -sname bench -setcookie bench
%% One message for each item to workers on two other nodes, and one back.

main(_) ->
    {ok, _, N1} = peer(one), {ok, _, N2} = peer(two),
    Code = code(),
    [rpc:call(N, code, load_binary, Code) || N <- [N1, N2]],
    Workers = [spawn(N, pmap_worker, loop, []) || N <- [N1, N2]],
    Count = 100000,
    round(Workers, Count),
    Rates = lists:sort([round(Workers, Count) || _ <- lists:seq(1, 5)]),
    io:format("~p~n", [lists:nth(3, Rates)]),
    [rpc:cast(N, erlang, halt, []) || N <- [N1, N2]].

peer(Name) -> peer:start(#{name => Name, args => ["-setcookie", "bench"]}).

%% A module made here, because an escript's own cannot be loaded by another node.
code() ->
    Forms = [{attribute, 1, module, pmap_worker}, {attribute, 1, export, [{loop, 0}]},
             {function, 1, loop, 0, [{clause, 1, [], [],
               [{'receive', 1, [{clause, 1, [{tuple, 1, [{var, 1, 'From'}, {var, 1, 'I'}, {var, 1, 'X'}]}], [],
                 [{op, 1, '!', {var, 1, 'From'}, {tuple, 1, [{var, 1, 'I'}, {var, 1, 'X'}]}}]}]},
                {call, 1, {atom, 1, loop}, []}]}]}],
    {ok, pmap_worker, Binary} = compile:forms(Forms),
    [pmap_worker, "pmap_worker.erl", Binary].

round(Workers, Count) ->
    Start = erlang:monotonic_time(nanosecond),
    send(1, Count, list_to_tuple(Workers)),
    collect(Count),
    Count / ((erlang:monotonic_time(nanosecond) - Start) / 1.0e9).

send(I, Count, _) when I > Count -> ok;
send(I, Count, Workers) ->
    element(I rem 2 + 1, Workers) ! {self(), I, I},
    send(I + 1, Count, Workers).

collect(0) -> ok;
collect(N) -> receive {_, _} -> collect(N - 1) end.
