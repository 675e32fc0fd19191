"""The part of SQL that is let through: kinds of nodes, functions and types. Allow-lists, so what is not here is refused.

Written down is what ordinary statements are made of. What reads files, runs commands or other SQL text, sleeps,
changes the connection, asks who is there, or moves a sequence is not ordinary. Pure data.
"""

from collections.abc import Mapping
from typing import Final, Literal

Dialect = Literal["sqlite", "postgres"]

STARTS: Final = frozenset(
    {"select", "with", "values", "insert", "update", "delete", "create", "drop", "alter", "truncate", "("}
)
"""How a statement may begin; all else has no right of its own: PRAGMA, ATTACH, COPY, SET, LOAD, EXPLAIN, DO, …"""

_ANY: Final = None


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRUCTURE: Final[Mapping[str, frozenset[str] | None]] = {
    "Select": _keys(
        "with_ expressions distinct from_ joins where group having windows order limit offset laterals"
    ),
    **dict.fromkeys(
        ("Union", "Intersect", "Except"), _keys("with_ this expression distinct order limit offset")
    ),
    "Subquery": _keys("this alias with_ joins order limit offset"),
    "With": _keys("expressions recursive"),
    "CTE": _keys("this alias materialized"),
    "From": _keys("this"),
    "Join": _keys("this on side kind using method"),
    "Lateral": _keys("this alias"),
    "Table": _keys("this db alias joins"),
    "TableAlias": _keys("this columns"),
    "Values": _keys("expressions alias"),
    "Tuple": _keys("expressions"),
    "Where": _keys("this"),
    "Having": _keys("this"),
    "Group": _keys("expressions rollup cube grouping_sets"),
    **dict.fromkeys(("Rollup", "Cube", "GroupingSets"), _keys("expressions")),
    "Order": _keys("this expressions"),
    "Ordered": _keys("this desc nulls_first"),
    "Limit": _keys("this expression"),
    "Offset": _keys("this expression"),
    "Fetch": _keys("direction count limit_options"),
    "LimitOptions": _keys("rows with_ties"),
    "Distinct": _keys("expressions on"),
    "Window": _keys("this partition_by order spec alias over first"),
    "WindowSpec": _keys("kind start start_side end end_side exclude"),
    "Filter": _keys("this expression"),
    "WithinGroup": _keys("this expression"),
    "Alias": _keys("this alias"),
    "Column": _keys("this table"),
    "Star": frozenset(),
    "Identifier": _keys("this quoted"),
}

_WRITING: Final[Mapping[str, frozenset[str] | None]] = {
    "Insert": _keys("with_ this expression conflict returning alternative default"),
    "OnConflict": _keys("expressions action conflict_keys index_predicate where constraint"),
    "Returning": _keys("expressions"),
    "Update": _keys("with_ this expressions from_ where returning"),
    "Delete": _keys("with_ this using where returning"),
    "Create": _keys("this kind expression exists unique"),
    "Drop": _keys("exists tables kind"),
    "Alter": _keys("this kind actions exists"),
    "AlterRename": _keys("this"),
    "AlterColumn": _keys("this dtype default drop allow_null"),
    "RenameColumn": _keys("this to"),
    "AddConstraint": _keys("expressions"),
    "TruncateTable": _keys("expressions"),
    "Schema": _keys("this expressions"),
    "ColumnDef": _keys("this kind constraints exists"),
    "ColumnConstraint": _keys("this kind"),
    "Constraint": _keys("this expressions"),
    "PrimaryKeyColumnConstraint": _keys("desc include"),
    "PrimaryKey": _keys("expressions include"),
    "UniqueColumnConstraint": _keys("this include"),
    "NotNullColumnConstraint": _keys("allow_null"),
    "DefaultColumnConstraint": _keys("this"),
    "CheckColumnConstraint": _keys("this"),
    "CollateColumnConstraint": _keys("this"),
    "AutoIncrementColumnConstraint": frozenset(),
    "GeneratedAsIdentityColumnConstraint": _keys("this expression"),
    "ForeignKey": _keys("expressions reference options delete update"),
    "Reference": _keys("this expressions options"),
    "Index": _keys("this table params"),
    "IndexParameters": _keys("columns where using"),
}

_OPERATORS: Final = _keys(
    """
    And Or Not Xor Paren Neg Add Sub Mul Div IntDiv Mod DPipe EQ NEQ GT GTE LT LTE Is Between Like ILike Glob
    SimilarTo Escape RegexpLike RegexpILike NullSafeEQ NullSafeNEQ BitwiseAnd BitwiseOr BitwiseXor BitwiseNot
    BitwiseLeftShift BitwiseRightShift Case If Collate Exists Any All Array Bracket Slice Interval AtTimeZone
    Extract ArrayContainsAll ArrayContainedBy ArrayOverlaps JSONBContains JSONBContainsTopKey JSONBContainsAnyTopKeys
    JSONBContainsAllTopKeys JSONExtract JSONExtractScalar JSONBExtract JSONBExtractScalar JSONPath JSONPathRoot
    JSONPathKey JSONPathSubscript JSONPathWildcard Literal Boolean Null HexString Placeholder Parameter Var DataTypeParam
    IntervalSpan
    """
)

_FUNCTIONS: Final = _keys(
    """
    Abs Acos Asin Atan Atan2 Cos Sin Tan Cot Degrees Radians Pi Ceil Floor Round Trunc Sign Sqrt Cbrt Pow Exp Ln Log
    Greatest Least Rand Uuid
    Coalesce Nullif Lower Upper Initcap Length BitLength ByteLength Trim Substring Replace Left Right Concat ConcatWs
    StrPosition Reverse Pad SplitPart Translate Overlay Chr Ascii Unicode Hex Quote Format MD5 StartsWith Encode
    Decode ToChar ToNumber RegexpReplace RegexpCount StringToArray ArrayToString ArraySize
    Count Sum Avg Min Max Stddev StddevPop StddevSamp Variance VariancePop Corr CovarPop CovarSamp Median Mode
    PercentileCont PercentileDisc GroupConcat ArrayAgg LogicalAnd LogicalOr BitwiseAndAgg BitwiseOrAgg
    JSONArrayAgg JSONObjectAgg JSONBObjectAgg
    RowNumber Rank DenseRank PercentRank CumeDist Ntile Lag Lead FirstValue LastValue NthValue Grouping
    CurrentDate CurrentTime CurrentTimestamp Localtime Localtimestamp Date Datetime Time TimeToStr TimestampTrunc
    DateTrunc DateFromParts TimestampFromParts TimeFromParts StrToTime StrToDate UnixToTime TsOrDsToTimestamp
    TsOrDsToDate TsOrDsToTime MakeInterval JustifyDays JustifyHours JustifyInterval WidthBucket
    JSONArray JSONObject JSONKeyValue JSONType JSONSet JSONRemove JSONFormat ParseJSON Typeof
    """
)

NODES: Final[Mapping[str, frozenset[str] | None]] = {
    **_STRUCTURE,
    **_WRITING,
    "In": _keys("this expressions query"),
    "Cast": _keys("this to"),
    "DataType": _keys("this expressions nested"),
    "Anonymous": _keys("this expressions"),
    "Lambda": _keys("this expressions"),  # what the parser takes `f(doc -> 'key')` for
    "MatchAgainst": _keys("this expressions"),
    **dict.fromkeys(_OPERATORS, _ANY),
    **dict.fromkeys(_FUNCTIONS, _ANY),
}
"""Each kind of node that may occur, and which of its parts may be filled; None is all of them."""

NAMED: Final[Mapping[Dialect, frozenset[str]]] = {
    "sqlite": _keys(
        """
        date datetime julianday unixepoch time timediff printf quote total glob like likely unlikely nullif ltrim rtrim
        json json_array json_array_length json_group_array json_group_object json_insert json_object json_patch
        json_quote json_replace json_valid last_insert_rowid changes percent_rank cume_dist concat sqrt power
        """
    ),
    "postgres": _keys(
        """
        age clock_timestamp statement_timestamp transaction_timestamp date_part make_date make_time make_timestamp
        make_timestamptz to_date isfinite
        jsonb_build_object jsonb_build_array json_build_object json_build_array jsonb_agg json_agg jsonb_object_agg
        json_object_agg to_json to_jsonb row_to_json jsonb_array_length json_array_length jsonb_typeof json_typeof
        jsonb_set jsonb_insert jsonb_strip_nulls json_strip_nulls jsonb_extract_path jsonb_extract_path_text
        json_extract_path json_extract_path_text jsonb_pretty jsonb_exists
        array_length array_position array_append array_prepend array_cat array_remove array_replace cardinality
        btrim char_length quote_literal regexp_match strpos substr ltrim rtrim starts_with sha256 sha512 div gcd lcm
        scale every any_value bit_and bit_or regr_slope regr_intercept num_nulls num_nonnulls
        to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_rank ts_rank_cd ts_headline
        """
    ),
}
"""Functions that the parser has no kind of node for, in lower case."""

SQLITE_FUNCTIONS: Final = NAMED["sqlite"] | _keys(
    """
    -> ->> abs acos asin atan atan2 cos sin tan degrees radians pi ceil ceiling floor round trunc sign sqrt pow exp ln
    log log10 log2 mod random max min coalesce ifnull iif lower upper length substr substring trim ltrim rtrim replace
    instr char unicode hex format typeof count sum avg group_concat string_agg row_number rank dense_rank ntile lag
    lead first_value last_value nth_value current_date current_time current_timestamp date strftime json_extract
    json_type json_set json_remove like glob
    """
)
"""What SQLite itself calls the functions that a statement may use; for its authorizer."""

TYPES: Final = _keys(
    """
    TINYINT SMALLINT INT BIGINT UINT FLOAT DOUBLE DECIMAL BOOLEAN TEXT VARCHAR CHAR NCHAR NVARCHAR BLOB BINARY VARBINARY
    DATE TIME TIMETZ TIMESTAMP TIMESTAMPTZ TIMESTAMPNTZ DATETIME INTERVAL JSON JSONB UUID ARRAY SERIAL BIGSERIAL
    SMALLSERIAL MEDIUMINT REAL BIT
    """
)
"""Names of types; a type that is a table's, a role's or of the database's own making is none of them."""

BUILT_IN: Final = _keys(
    """
    bytecode carray closure completion dbstat fsdir fts1tokenize fts2tokenize fts3tokenize generate_series json_each
    json_tree jsonb_each jsonb_tree memstat prefixes series tables_used wholenumber zipfile
    """
)
"""Tables that are in SQLite itself and in no database. `sqlite` refuses any that no database has; this is the first line."""
