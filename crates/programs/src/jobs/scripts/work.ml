(* Hash tables of strings, trees, one big piece outside of the small heap, and a compaction. *)
let rec make depth = if depth = 0 then `Leaf else `Node (make (depth - 1), make (depth - 1))
let rec count = function `Leaf -> 1 | `Node (left, right) -> count left + count right

let () =
  let table = Hashtbl.create 10 in
  for i = 0 to 200_000 do
    Hashtbl.replace table (string_of_int (i mod 5000)) (String.make (i mod 100) 'x')
  done;
  Printf.printf "%d %d\n" (Hashtbl.length table) (count (make 16));
  let big = Bytes.make 20_000_000 'a' in
  Gc.compact ();
  let length = Hashtbl.fold (fun _ text sum -> sum + String.length text) table 0 in
  Printf.printf "%d %d\n" (Bytes.length big) length
