/** What a document selects of a node type at one place, variables known: how the nested tree is read from rows. */

export interface Selection {
  /** The node type: "Message" */
  readonly type: string;
  /** Its position among the selections of its document. Equal selections of one document are one. */
  readonly index: number;
  readonly fields: readonly SelectedField[];
}

export interface SelectedField {
  /** The response key at this place. */
  readonly key: string;
  /** The response key in the normalized rows; the schema's name for lists, which rows don't have. */
  readonly from: string;
  readonly edge?: SelectedEdge;
}

export interface SelectedEdge {
  readonly many: boolean;
  readonly nullable: boolean;
  readonly selection: Selection;
}
