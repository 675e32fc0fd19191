// A table of rows: its head from names, so that each page only writes its rows.
import type { ReactNode } from "react";

export interface Column {
  name: string;
  /** Set to the right, as numbers are. */
  num?: boolean;
  /** Read out, not shown: the column of buttons. */
  hidden?: boolean;
}

export const column = (name: string): Column => ({ name });
export const number = (name: string): Column => ({ name, num: true });
export const actions: Column = { name: "Actions", hidden: true };

interface TableProps {
  columns: Column[];
  caption?: string;
  className?: string;
  children: ReactNode;
}

export function Head({ columns }: { columns: Column[] }) {
  return (
    <thead>
      <tr>
        {columns.map(({ name, num, hidden }) => (
          <th key={name} scope="col" className={num ? "num" : undefined}>
            {hidden ? <span className="hidden">{name}</span> : name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

/** Children are the rows; for several groups of rows use `Head` in a table of your own. */
export function Table({ columns, caption, className = "rows", children }: TableProps) {
  return (
    <table className={className}>
      {caption && <caption className="hidden">{caption}</caption>}
      <Head columns={columns} />
      <tbody>{children}</tbody>
    </table>
  );
}
